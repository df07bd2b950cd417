/* A wrong wall clock for one process: `LD_PRELOAD` with CLOCK_SHIFT_S in the environment.
 *
 * libfaketime looks its originals up through the allocator, which waits for ever in a program whose allocator
 * asks for the time while it starts. This asks the kernel. Clocks that only measure distances stay true, as
 * they do when a real machine's wall clock is wrong.
 */
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static long shift_s;

__attribute__((constructor)) static void read_shift(void) {
	const char *text = getenv("CLOCK_SHIFT_S");
	if (text)
		shift_s = atol(text);
}

int clock_gettime(clockid_t clock, struct timespec *time) {
	int result = (int)syscall(SYS_clock_gettime, clock, time);
	if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
		time->tv_sec += shift_s;
	return result;
}

time_t time(time_t *out) {
	struct timespec now;
	if (clock_gettime(CLOCK_REALTIME, &now) != 0)
		return (time_t)-1;
	if (out)
		*out = now.tv_sec;
	return now.tv_sec;
}

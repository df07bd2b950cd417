//! The agent without I/O: admission list, probe answers, state machine.

//! Attaches the programs to an interface.

use crate::{
    LoaderError,
    interface::{Interface, Link},
    mesh::Hook,
    permitted,
};
use aya::{
    Ebpf,
    programs::{
        LinkOrder, ProgramError, SchedClassifier, TcAttachType, Xdp, XdpMode,
        links::FdLink,
        tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions},
    },
    util::KernelVersion,
};
use x0_ebpf_shared::{INGRESS_IP_PROGRAM, INGRESS_PROGRAM, XDP_PROGRAM};

/// A program on an interface; dropping it detaches the program.
#[derive(Debug)]
pub(crate) struct Attached {
    pub(crate) hook: Hook,
    _link: Held,
}

#[derive(Debug)]
#[allow(dead_code, reason = "held for what dropping them does")]
enum Held {
    Tc(SchedClassifierLink),
    Xdp(FdLink),
}

/// Whether the kernel has TCX links, which end with the process that holds them.
pub(crate) fn has_tcx() -> bool {
    KernelVersion::current().is_ok_and(|version| version.code() >= KernelVersion::new(6, 6, 0).code())
}

/// Attaches at TC ingress, before other programs there.
pub(crate) fn attach_tc(ebpf: &mut Ebpf, interface: &Interface) -> Result<Attached, LoaderError> {
    attach_tc_by(ebpf, interface, has_tcx())
}

/// As [`attach_tc`], by a TCX link or by a classifier.
pub(crate) fn attach_tc_by(ebpf: &mut Ebpf, interface: &Interface, tcx: bool) -> Result<Attached, LoaderError> {
    let name = match interface.link {
        Link::Ethernet => INGRESS_PROGRAM,
        Link::BareIp => INGRESS_IP_PROGRAM,
    };
    let program: &mut SchedClassifier =
        ebpf.program_mut(name).ok_or(LoaderError::Missing(name))?.try_into().map_err(refused)?;
    if program.fd().is_err() {
        program.load().map_err(refused)?;
    }
    let (hook, options) = if tcx {
        (Hook::Tcx, TcAttachOptions::TcxOrder(LinkOrder::first()))
    } else {
        make_clsact(&interface.name, name);
        (Hook::Clsact, TcAttachOptions::Netlink(NlOptions::default()))
    };
    let id = program.attach_with_options(&interface.name, TcAttachType::Ingress, options).map_err(refused)?;
    Ok(Attached { hook, _link: Held::Tc(program.take_link(id).map_err(refused)?) })
}

/// Prepares an interface of a kernel without TCX links, and removes what a killed process left there.
fn make_clsact(interface: &str, program: &str) {
    // Fails harmlessly where the qdisc is already; the attachment decides.
    if let Err(error) = tc::qdisc_add_clsact(interface) {
        tracing::debug!(interface, %error, "no clsact qdisc added");
    }
    match tc::qdisc_detach_program(interface, TcAttachType::Ingress, program) {
        Ok(()) => tracing::warn!(interface, "removed a program that a killed agent left"),
        Err(error) => tracing::debug!(interface, %error, "no program of an earlier agent removed"),
    }
}

/// Attaches at XDP: in the driver, or where `generic` allows it and the driver cannot, behind it.
pub(crate) fn attach_xdp(ebpf: &mut Ebpf, interface: &Interface, generic: bool) -> Result<Attached, LoaderError> {
    let program: &mut Xdp =
        ebpf.program_mut(XDP_PROGRAM).ok_or(LoaderError::Missing(XDP_PROGRAM))?.try_into().map_err(refused)?;
    if program.fd().is_err() {
        program.load().map_err(refused)?;
    }
    let (hook, id) = match program.attach(&interface.name, XdpMode::Driver) {
        Ok(id) => (Hook::XdpDriver, id),
        Err(error) if generic => {
            tracing::debug!(interface = interface.name, %error, "no XDP in the driver");
            (Hook::XdpGeneric, program.attach(&interface.name, XdpMode::Skb).map_err(refused)?)
        }
        Err(error) => return Err(refused(error)),
    };
    // A link without a descriptor would outlive a killed process; dropping it here takes it down.
    let link = FdLink::try_from(program.take_link(id).map_err(refused)?)
        .map_err(|_| LoaderError::Missing("XDP link of this kernel (Linux 5.9)"))?;
    Ok(Attached { hook, _link: Held::Xdp(link) })
}

/// A process without CAP_PERFMON may not load the programs: the verifier then follows what a CPU might do
/// ahead of time as well, and gives up at their loops in one of several ways.
fn refused(error: ProgramError) -> LoaderError {
    match &error {
        ProgramError::LoadError { .. } if lacks_perfmon() => LoaderError::NotPermitted,
        // The verifier says "permission denied" of a program that it does not take.
        ProgramError::LoadError { io_error, .. } if io_error.raw_os_error() == Some(libc::EACCES) => {
            LoaderError::Program(error)
        }
        _ => permitted(error, LoaderError::Program),
    }
}

/// Whether this thread certainly lacks CAP_PERFMON (38) and CAP_SYS_ADMIN (21), which includes it.
fn lacks_perfmon() -> bool {
    let Ok(status) = std::fs::read_to_string("/proc/thread-self/status") else { return false };
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    effective
        .and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok())
        .is_some_and(|bits| bits & (1 << 38 | 1 << 21) == 0)
}

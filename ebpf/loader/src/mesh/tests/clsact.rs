//! Kernels without TCX links: the way of attaching is forced here, because it works on newer ones too.

use super::kernel::filter;
use crate::{
    hook,
    interface::Interface,
    mesh::{FilterError, Hook},
    object,
};
use x0_test_support::netns::Namespace;

fn programs_on_loopback(namespace: &Namespace) -> usize {
    let listed = namespace.command("tc", "filter show dev lo ingress").unwrap();
    listed.lines().filter(|line| line.contains("direct-action")).count()
}

/// A killed process leaves its classifier behind; the next start removes it instead of adding a second.
#[test]
fn what_a_killed_process_left_is_removed_at_the_next_start() {
    if filter().is_none() {
        return;
    }
    let namespace = Namespace::create().unwrap();
    let attach = || -> anyhow::Result<_> {
        let mut ebpf = object::load(&[])?;
        Ok((hook::attach_tc_by(&mut ebpf, &Interface::look("lo")?, false)?, ebpf))
    };
    // Forgetting the link is what a kill does: nothing runs that would detach it.
    namespace
        .inside(move || {
            std::mem::forget(attach()?.0);
            Ok(())
        })
        .unwrap();
    assert_eq!(programs_on_loopback(&namespace), 1);
    let second = namespace.inside(attach).unwrap();
    assert_eq!(programs_on_loopback(&namespace), 1);
    assert_eq!(second.0.hook, Hook::Clsact);
    namespace
        .inside(move || {
            drop(second);
            Ok(())
        })
        .unwrap();
    assert_eq!(programs_on_loopback(&namespace), 0);
}

#[test]
fn tags_are_not_enforced_by_programs_that_outlive_the_agent() {
    let Some(mut filter) = filter() else { return };
    Namespace::create()
        .unwrap()
        .inside(move || {
            let attached = hook::attach_tc_by(&mut filter.ebpf, &Interface::look("lo")?, false)?;
            filter.attached.insert("lo".to_owned(), attached);
            assert!(matches!(filter.arm(true), Err(FilterError::ArmNeedsLinks { .. })));
            assert!(!filter.is_armed());
            filter.arm(false)?;
            assert!(filter.detach("lo"));
            filter.arm(true)?;
            Ok(())
        })
        .unwrap();
}

//! Facts about settings.

use super::*;
use alloc::string::ToString;

fn unaligned() -> CheckpointSettings {
    CheckpointSettings { unaligned: true, ..CheckpointSettings::default() }
}

#[test]
fn barriers_overtake_only_if_asked_to_and_then_at_once() {
    let settings = CheckpointSettings::default().validated().expect("the default can be");
    assert!(!settings.unaligned && settings.aligned_timeout.is_zero());
    assert!(unaligned().validated().is_ok());
    assert!(CheckpointSettings { aligned_timeout: Duration::from_secs(1), ..unaligned() }.validated().is_ok());
}

#[test]
fn what_does_not_go_with_overtaking_is_refused_with_what_to_do() {
    let refused = |settings: CheckpointSettings| settings.validated().expect_err("it cannot be").to_string();
    let concurrent = refused(CheckpointSettings { max_concurrent: 2, ..unaligned() });
    assert_eq!(concurrent, "unaligned is on, but max-concurrent is 2: set it to 1");
    let at_least_once = refused(CheckpointSettings { mode: Mode::AtLeastOnce, ..unaligned() });
    assert!(at_least_once.contains("at-least-once") && at_least_once.contains("set mode to exactly-once"), "{at_least_once}");
    let alone = refused(CheckpointSettings { aligned_timeout: Duration::from_secs(1), ..CheckpointSettings::default() });
    assert_eq!(alone, "aligned-timeout is 1s, but unaligned is off, so that no barrier ever overtakes: set unaligned to on");
}

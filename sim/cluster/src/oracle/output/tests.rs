use super::*;

fn logs() -> Vec<Log> {
    let log = |source, lines: &[&str]| Log { source, partitions: vec![("p".into(), lines.iter().map(|line| (*line).into()).collect())] };
    vec![log("orders-a", &["a1 7", "a2 5"]), log("orders-b", &["a1 1"]), log("payments", &["a1 3"])]
}

fn judged(mode: Mode, undisturbed: bool, table: &[(&str, &str)]) -> Result<u64, String> {
    let rows = table.iter().map(|(key, row)| ((*key).to_owned(), (*row).to_owned())).collect();
    judge(JobKind::Ledger, mode, undisturbed, &logs(), &rows)
}

#[test]
fn a_table_of_ripe_accounts_is_accepted() {
    assert_eq!(judged(Mode::ExactlyOnce, true, &[("a1", "8 3 ripe"), ("a2", "5 0 ripe")]), Ok(0));
}

#[test]
fn a_timer_that_was_due_and_has_not_fired_is_red_in_either_mode() {
    for mode in [Mode::ExactlyOnce, Mode::AtLeastOnce] {
        let red = judged(mode, false, &[("a1", "8 3 due 1400 at 1400"), ("a2", "5 0 ripe")]).expect_err("it must be seen red");
        assert!(red.contains("a1") && red.contains("1400"), "{red}");
    }
}

#[test]
fn a_timer_that_is_not_due_is_accepted_where_something_went_wrong() {
    let table = [("a1", "8 3 ripe"), ("a2", "5 0 due 1400 at 1399")];
    assert_eq!(judged(Mode::ExactlyOnce, false, &table), Ok(0));
    assert!(judged(Mode::ExactlyOnce, true, &table).is_err_and(|red| red.contains("a2")));
}

#[test]
fn a_row_that_does_not_say_is_red() {
    for row in ["5 0", "5 0 ", "5 0 due soon at 7", "5 0 due 1400"] {
        assert!(judged(Mode::ExactlyOnce, false, &[("a1", "8 3 ripe"), ("a2", row)]).is_err(), "{row:?}");
    }
}

#[test]
fn ripe_accounts_with_wrong_counts_are_red() {
    assert!(judged(Mode::ExactlyOnce, true, &[("a1", "8 4 ripe"), ("a2", "5 0 ripe")]).is_err());
    assert_eq!(judged(Mode::AtLeastOnce, true, &[("a1", "8 4 ripe"), ("a2", "5 0 ripe")]), Ok(1));
    assert!(judged(Mode::AtLeastOnce, true, &[("a1", "7 3 ripe"), ("a2", "5 0 ripe")]).is_err());
    assert!(judged(Mode::ExactlyOnce, true, &[("a1", "8 3 ripe")]).is_err());
}

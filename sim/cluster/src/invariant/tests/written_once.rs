use super::*;
use crate::invariant::written_once::WrittenOnce;

fn next() -> Told {
    told(1, WORKER, Actor::Worker(WorkerId(1)), Moment::Registered)
}

#[test]
fn whatever_else_happens_is_accepted() {
    assert_accepted(WrittenOnce::default(), vec![next(), world(1, WorldEvent::Note("nothing".into())), next()]);
}

#[test]
fn something_published_that_is_written_again_is_red() {
    let replaced = WorldEvent::ObjectReplaced { url: "s3://bucket/job/chk-7/_metadata".into() };
    assert_red(WrittenOnce::default(), vec![next(), world(1, replaced), next()], &["chk-7/_metadata"]);
}

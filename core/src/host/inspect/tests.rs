use super::*;

fn tag(condition: Condition, emulated: bool) -> Option<TagState> {
    Some(TagState {
        condition,
        reason: None,
        emulated,
        attribute: "security.dax_immutable",
        record: None,
    })
}

#[test]
fn the_reason_follows_mapping_and_file() {
    let mapping = |permissions: &'static [u8; 4]| Mapping {
        start: 0,
        end: 4096,
        permissions: *permissions,
        offset: 0,
        device: 1,
        inode: 1,
        path: b"/f",
    };
    let because = |permissions, sync, dax, tag, on_tmpfs| {
        let facts = Facts {
            dax,
            tag,
            on_tmpfs,
            unread: None,
        };
        reason(&mapping(permissions), sync, &facts)
    };
    let (on, off) = (Some(true), Some(false));
    let valid = || tag(Condition::Tagged, false);
    let emulated = || tag(Condition::Tagged, true);
    use FlushReason as Because;
    assert_eq!(because(b"rw-s", true, on, valid(), false), Because::Tagged);
    assert_eq!(because(b"rw-s", true, on, None, false), Because::MapSync);
    let stale = tag(Condition::Stale, false);
    assert_eq!(because(b"rw-s", true, on, stale, false), Because::MapSync);
    let broken = || tag(Condition::Broken, false);
    assert_eq!(because(b"rw-s", true, on, broken(), false), Because::Broken);
    assert_eq!(
        because(b"rw-s", false, on, broken(), false),
        Because::Broken
    );
    assert_eq!(
        because(b"rw-s", false, on, valid(), false),
        Because::NotSync
    );
    assert_eq!(
        because(b"r--s", false, on, valid(), false),
        Because::ReadOnly
    );
    assert_eq!(because(b"rw-p", true, on, valid(), false), Because::Private);
    assert_eq!(because(b"rw-s", false, off, None, true), Because::PageCache);
    assert_eq!(
        because(b"rw-s", false, off, emulated(), true),
        Because::Emulated
    );
    assert_eq!(
        because(b"rw-s", false, off, emulated(), false),
        Because::PageCache
    );
    assert_eq!(because(b"rw-s", false, None, None, false), Because::Unknown);
    assert!(Because::Tagged.suffices() && !Because::Broken.suffices());
}

use super::*;

#[test]
fn codes_are_unique_and_ascending() {
    for pair in Code::ALL.windows(2) {
        assert!(pair[0].id() < pair[1].id(), "{:?}", pair);
    }
    for &code in Code::ALL {
        assert_eq!(Code::parse(code.id()), Some(code));
        assert_eq!(Code::from_u8(code as u8), Some(code));
        assert!(code.id().len() == 6 && code.id().starts_with("DAX"));
    }
    assert_eq!(Code::parse("DAX000"), None);
}

#[test]
fn titles_and_pages_read_well() {
    for &code in Code::ALL {
        assert!(!code.title().ends_with('.') && !code.help().ends_with('.'));
        assert!(code.explanation().ends_with('\n'));
        for line in code.explanation().lines() {
            assert!(line.len() <= 112, "{}: {line}", code.id());
        }
        let examples = ["Wrong:\n", "Right:\n"];
        let shown = examples.map(|word| code.explanation().contains(word));
        assert_eq!(shown[0], shown[1], "{}", code.id());
    }
}

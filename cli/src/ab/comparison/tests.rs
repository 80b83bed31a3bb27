use super::*;

fn ratio_of(ratio: f64, low: f64, high: f64) -> Option<Ratio> {
    Some(Ratio {
        ratio,
        interval: Some(Interval { low, high }),
        pairs: 10,
    })
}

fn conclusion(accelerated: bool) -> Conclusion {
    Conclusion {
        accelerated,
        reason: if accelerated {
            Reason::UserFlush
        } else {
            Reason::NotMapped
        },
        text: "Nothing was accelerated: no file.".into(),
    }
}

#[test]
fn only_what_is_beyond_the_noise_is_a_difference() {
    let control = ratio_of(1.0, 0.97, 1.03);
    for (b, expected) in [
        (ratio_of(0.5, 0.4, 0.6), Finding::Faster),
        (ratio_of(1.5, 1.4, 1.6), Finding::Slower),
        (ratio_of(0.99, 0.9, 1.1), Finding::NoDifference),
        (ratio_of(0.96, 0.94, 0.98), Finding::NoDifference),
        (None, Finding::Unknown),
    ] {
        let found = verdict(b, control, Some(&conclusion(true)));
        assert_eq!(found.result, expected, "{}", found.text);
    }
    // A differs from itself, by as much, in the other direction.
    let uneven = ratio_of(0.6, 0.5, 0.7);
    let found = verdict(ratio_of(1.2, 1.1, 1.3), uneven, Some(&conclusion(true)));
    assert_eq!(found.result, Finding::NoDifference);
    let one = Ratio {
        ratio: 0.5,
        interval: None,
        pairs: 1,
    };
    let found = verdict(Some(one), None, Some(&conclusion(true)));
    assert_eq!(found.result, Finding::Unknown);
    assert!(
        found.text.contains("no confidence interval"),
        "{}",
        found.text
    );
}

#[test]
fn time_on_the_cpu_is_told_if_it_is_beyond_the_noise() {
    let control = ratio_of(1.0, 0.97, 1.03);
    let told = |b| in_cpu_time(b, control).contains("beyond noise");
    assert!(told(ratio_of(0.8, 0.7, 0.9)));
    assert!(!told(ratio_of(0.96, 0.94, 0.98)));
    assert!(!told(ratio_of(1.05, 0.9, 1.2)));
    assert!(!told(None));
}

#[test]
fn where_nothing_was_accelerated_no_ratio_counts() {
    let b = ratio_of(0.5, 0.4, 0.6);
    let found = verdict(b, None, Some(&conclusion(false)));
    assert_eq!(found.result, Finding::NotAccelerated);
    assert!(found.text.contains("is noise"), "{}", found.text);
}

#[test]
fn fail_if_slower_looks_at_the_lower_end_of_the_interval() {
    for (low, percent, failed) in [
        (1.06, 5.0, true),
        (1.05, 5.0, false),
        (1.04, 5.0, false),
        (1.04, 0.0, true),
        (0.9, 0.0, false),
    ] {
        let ratio = ratio_of(1.2, low, 1.5).unwrap();
        let mut verdict = verdict(Some(ratio), None, Some(&conclusion(true)));
        judge(&mut verdict, percent, &ratio);
        assert_eq!(verdict.failed, failed, "{low} {percent}");
    }
}

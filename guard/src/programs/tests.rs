use super::*;
use std::collections::HashSet;

#[test]
fn hooks_have_one_row_and_fit_into_the_mask() {
    let names: HashSet<&str> = HOOKS.iter().map(|hook| hook.name).collect();
    assert_eq!(names.len(), HOOKS.len());
    assert!(HOOKS.len() <= 32);
    // A pinned one has its own name; the kernel cuts a program's at 15.
    assert!(HOOKS.iter().all(|hook| !hook.subjects.is_empty()));
}

#[test]
fn requests_are_looked_at_once() {
    let mut seen = HashSet::new();
    let own = REFUSED_REQUESTS.iter().map(|(request, _)| *request);
    for request in own.chain([FS_IOC_SETFLAGS, FS_IOC32_SETFLAGS, FS_IOC_FSSETXATTR]) {
        assert!(seen.insert(request), "{request:#x}");
    }
}

#[test]
fn requests_are_of_the_types_that_are_looked_at() {
    let refused = REFUSED_REQUESTS.iter().map(|(request, _)| *request);
    let flags = [FS_IOC_SETFLAGS, FS_IOC32_SETFLAGS, FS_IOC_FSSETXATTR];
    for request in refused.chain(NAMING_REQUESTS).chain(flags) {
        let kind = (request & TYPE.cast_unsigned()) >> 8;
        assert!(
            WATCHED_TYPES
                .iter()
                .any(|&watched| u32::from(watched) == kind),
            "{request:#x}"
        );
    }
}

/// The records of the programs name operations by their place in the table.
#[test]
fn operations_are_found_again_by_number() {
    for (number, operation) in Operation::ALL.iter().enumerate() {
        assert_eq!(*operation as usize, number);
    }
}

#[test]
fn programs_can_be_made_for_this_machine_s_kernel_if_it_has_the_hooks() {
    let Ok(btf) = Btf::of_kernel() else {
        return;
    };
    let maps = MapNumbers {
        files: 3,
        refusals: 4,
        counter: 5,
        about: 6,
        runs: 7,
    };
    for kind in [Kind::Lsm, Kind::ModifyReturn] {
        if btf.function(&kind.function("file_permission")).is_none() {
            continue;
        }
        let without = programs(&btf, kind, maps, false).unwrap();
        let all = programs(&btf, kind, maps, true).unwrap();
        assert_eq!(without.len() + 1, all.len());
        for program in &all {
            let length = program.code.len();
            assert!(
                (20..2000).contains(&length),
                "{}: {length}",
                program.hook.name
            );
        }
    }
}

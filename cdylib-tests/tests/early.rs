//! What is called before the program begins: a library's constructor gets the answers that it gets without the
//! shim, and is refused what the program would be.

use daxshim_tests::{Failed, Outcome, Run, Scene, Shim, Tag, fail, program};
use libtest_mimic::{Arguments, Trial};

const REFUSED: &str = "write(fd, \"x\", 1) = -1 EPERM\n";

fn main() {
    let trials = vec![
        Trial::test("constructor/untagged", || {
            answers("early/main", Tag::None, false)
        }),
        Trial::test("constructor/tagged", || {
            answers("early/main", Tag::Valid, true)
        }),
        Trial::test("initialised first/untagged", || {
            answers("early/first", Tag::None, false)
        }),
        // It comes before the shim has read what it should do: nothing is refused yet, and nothing fails.
        Trial::test("initialised first/tagged", || {
            answers("early/first", Tag::Valid, false)
        }),
        Trial::test("initialised first, under a filter", filtered),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn run(shim: &Shim, name: &str, tag: Tag) -> Result<Run, Failed> {
    let scene = Scene::new(tag)?;
    Run::of(shim.command(program(name)).current_dir(scene.dir()))
}

fn answers(name: &str, tag: Tag, is_refused: bool) -> Outcome {
    let native = run(&Shim::none(), name, Tag::None)?;
    if native.output.lines().count() < 20 || !native.status.success() {
        fail!("natively: {}\n{}", native.status, native.output);
    }
    let expected = match is_refused {
        true => native.output.replace("write(fd, \"x\", 1) = 1 \n", REFUSED),
        false => native.output.clone(),
    };
    run(&Shim::new(), name, tag)?.expect(&expected, &native)
}

/// A filter that was there before the shim kills it for none of its calls.
fn filtered() -> Outcome {
    let native = run(&Shim::none(), "early/filtered", Tag::None)?;
    if native.output != "filtered\nwritten\n" || !native.status.success() {
        fail!("natively: {}\n{}", native.status, native.output);
    }
    run(&Shim::new(), "early/filtered", Tag::Valid)?.expect(&native.output, &native)
}

//! Calls that only `DAXSHIM_CHECK` looks at: answers, syncs of all files, the end of the process. The places in libc that
//! make these calls are turned only then.

use crate::check;
use crate::entry::slot::{Call, Step};
use crate::ground::process;
use daxshim_core::check::log::Ending;

/// sendto(2), which is also send(3).
pub extern "C" fn sendto(call: &mut Call) -> Step {
    let [fd, ..] = call.args;
    check::answering(fd as i32);
    Step::PASS
}

/// sendmsg(2).
pub extern "C" fn sendmsg(call: &mut Call) -> Step {
    sendto(call)
}

/// sendmmsg(2).
pub extern "C" fn sendmmsg(call: &mut Call) -> Step {
    sendto(call)
}

/// sync(2).
pub extern "C" fn sync(_: &mut Call) -> Step {
    if check::on() {
        check::all_files(None);
    }
    Step::PASS
}

/// syncfs(2).
pub extern "C" fn syncfs(call: &mut Call) -> Step {
    let [fd, ..] = call.args;
    if check::on() {
        check::all_files(Some(fd as i32));
    }
    Step::PASS
}

/// exit_group(2), by name: exit(3) ends in the library's destructor first.
pub extern "C" fn exit_group(_: &mut Call) -> Step {
    if check::on() && process::is_owner() {
        check::ending(Ending::Exit);
    }
    Step::PASS
}

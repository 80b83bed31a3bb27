//! Calls that close descriptors or hand them out: never refused, only noted.

use crate::entry::slot::{Call, Step};
use crate::ground::descriptors::{distrust, duplicated, forget, forget_range};
use libc::{CLOSE_RANGE_CLOEXEC, CLOSE_RANGE_UNSHARE, F_DUPFD, F_DUPFD_CLOEXEC};
use libc::{CMSG_DATA, CMSG_FIRSTHDR, CMSG_LEN, CMSG_NXTHDR, SCM_RIGHTS, SOL_SOCKET, msghdr};

/// dup(2).
pub extern "C" fn dup(call: &mut Call) -> Step {
    call.then(after_dup)
}

/// dup2(2): closes the new number, if it is open and not the old one.
pub extern "C" fn dup2(call: &mut Call) -> Step {
    let [old, new, ..] = call.args;
    if old as i32 != new as i32 {
        forget(new as i32);
    }
    call.then(after_dup)
}

/// dup3(2).
pub extern "C" fn dup3(call: &mut Call) -> Step {
    dup2(call)
}

/// fcntl(2): F_DUPFD and F_DUPFD_CLOEXEC.
pub extern "C" fn fcntl(call: &mut Call) -> Step {
    let [_, command, ..] = call.args;
    match command as i32 {
        F_DUPFD | F_DUPFD_CLOEXEC => call.then(after_dup),
        _ => Step::PASS,
    }
}

/// close(2).
pub extern "C" fn close(call: &mut Call) -> Step {
    let [fd, ..] = call.args;
    forget(fd as i32);
    Step::PASS
}

/// close_range(2).
pub extern "C" fn close_range(call: &mut Call) -> Step {
    let [first, last, flags, ..] = call.args;
    if flags as u32 & CLOSE_RANGE_UNSHARE != 0 {
        distrust();
    }
    if flags as u32 & CLOSE_RANGE_CLOEXEC == 0 {
        forget_range(first as u32, last as u32);
    }
    Step::PASS
}

/// closefrom(3).
pub extern "C" fn closefrom(call: &mut Call) -> Step {
    let [first, ..] = call.args;
    forget_range((first as i32).max(0) as u32, u32::MAX);
    Step::PASS
}

/// pidfd_getfd(2).
pub extern "C" fn pidfd_getfd(call: &mut Call) -> Step {
    call.then(forget_result)
}

/// recvmsg(2): descriptors may come with the message.
pub extern "C" fn recvmsg(call: &mut Call) -> Step {
    call.then(after_recvmsg)
}

/// recvmmsg(2).
pub extern "C" fn recvmmsg(call: &mut Call) -> Step {
    call.then(after_recvmmsg)
}

extern "C" fn after_recvmsg(call: &Call, result: isize) -> isize {
    let [_, message, ..] = call.args;
    if result >= 0 {
        // SAFETY: the kernel has just filled in the header.
        forget_received(unsafe { &*(message as *const msghdr) });
    }
    result
}

extern "C" fn after_recvmmsg(call: &Call, result: isize) -> isize {
    let [_, messages, ..] = call.args;
    // int in the low half of the register.
    for i in 0..(result as i32).max(0) as usize {
        // SAFETY: the kernel has just filled in as many headers as it says.
        forget_received(unsafe { &(*(messages as *const libc::mmsghdr).add(i)).msg_hdr });
    }
    result
}

/// Forgets the descriptors of SCM_RIGHTS messages.
fn forget_received(message: &msghdr) {
    // SAFETY: the kernel has just filled in header and control messages.
    unsafe {
        let mut control = CMSG_FIRSTHDR(message);
        while let Some(header) = control.as_ref() {
            if header.cmsg_level == SOL_SOCKET && header.cmsg_type == SCM_RIGHTS {
                let bytes = header.cmsg_len.saturating_sub(CMSG_LEN(0) as usize);
                let descriptors = CMSG_DATA(header).cast::<i32>();
                for i in 0..bytes / size_of::<i32>() {
                    forget(descriptors.add(i).read_unaligned());
                }
            }
            control = CMSG_NXTHDR(message, header);
        }
    }
}

extern "C" fn after_dup(call: &Call, result: isize) -> isize {
    let [old, ..] = call.args;
    // int in the low half of the register.
    duplicated(old as i32, result as i32);
    result
}

/// The descriptor that a call returned, as its `After`.
pub extern "C" fn forget_result(_: &Call, result: isize) -> isize {
    // int in the low half of the register.
    forget(result as i32);
    result
}

//! Finds the system calls by which the kernel stores to the program's memory, and leaves it the pages that they name: on a
//! write-protected page such a call would be EFAULT, and no fault.
//!
//! The places in libc that make these calls are turned for it ([`turn`](crate::entry::turn)). Each then asks the hook of its
//! row, if it has one.

use crate::check::blame::{self, leave_to_kernel, signals};
use crate::entry::site::SiteSlot;
use crate::entry::slot::{Call, Step};
use crate::ground::memory::{PAGE, read_value};
use core::ffi::c_long;
use core::sync::atomic::Ordering;
use daxshim_core::symbols::HOOKS;
use once_cell::race::OnceRef;

/// Bytes that a call stores to at most behind a pointer to a structure.
const STRUCTURE: usize = 4 << 10;
/// The same of ioctl(2) (_IOC_SIZEBITS of asm-generic/ioctl.h) and of socket addresses and options.
const REQUEST: usize = 16 << 10;

/// Buffers of an array that are looked at: IOV_MAX.
const VECTOR: usize = 1024;

macro_rules! calls {
    ($($number:ident)+) => {
        static SITES: [SiteSlot; [$(libc::$number),+].len()] =
            [$(SiteSlot::new(ask, libc::$number, "blame")),+];
    };
}

calls! {
    SYS_read SYS_pread64 SYS_readv SYS_preadv SYS_preadv2 SYS_recvfrom SYS_recvmsg SYS_recvmmsg
    SYS_getrandom SYS_getdents64 SYS_getcwd SYS_readlink SYS_readlinkat SYS_getxattr SYS_lgetxattr
    SYS_fgetxattr SYS_listxattr SYS_llistxattr SYS_flistxattr SYS_process_vm_readv SYS_mincore
    SYS_stat SYS_fstat SYS_lstat SYS_newfstatat SYS_statx SYS_statfs SYS_fstatfs
    SYS_poll SYS_ppoll SYS_select SYS_pselect6 SYS_epoll_wait SYS_epoll_pwait SYS_epoll_pwait2
    SYS_rt_sigaction SYS_rt_sigprocmask SYS_rt_sigsuspend SYS_rt_sigtimedwait SYS_rt_sigpending
    SYS_ioctl SYS_pipe SYS_pipe2 SYS_socketpair SYS_accept SYS_accept4 SYS_getsockname SYS_getpeername
    SYS_getsockopt SYS_wait4 SYS_waitid SYS_nanosleep SYS_clock_nanosleep SYS_clock_gettime
    SYS_clock_getres SYS_gettimeofday SYS_time SYS_times SYS_getrusage SYS_getrlimit SYS_prlimit64
    SYS_getitimer SYS_setitimer SYS_timer_gettime SYS_timer_settime SYS_uname SYS_sysinfo
    SYS_sched_getaffinity SYS_sched_getparam SYS_getgroups SYS_getresuid SYS_getresgid
    SYS_sendfile SYS_splice SYS_copy_file_range SYS_name_to_handle_at SYS_mq_timedreceive
    SYS_msgrcv SYS_shmctl SYS_msgctl SYS_semctl SYS_capget SYS_getcpu SYS_prctl SYS_quotactl
    SYS_fcntl SYS_futex SYS_sigaltstack SYS_rseq SYS_set_tid_address SYS_get_robust_list SYS_sendmmsg
    SYS_timer_create SYS_timerfd_gettime SYS_timerfd_settime SYS_adjtimex SYS_clock_adjtime
    SYS_sched_getattr SYS_sched_rr_get_interval SYS_get_mempolicy SYS_move_pages SYS_mq_getsetattr
    SYS_io_setup SYS_vmsplice SYS_ustat SYS_syslog SYS_modify_ldt SYS_arch_prctl SYS_ptrace
    SYS_bpf SYS_perf_event_open SYS_keyctl SYS_lookup_dcookie SYS_get_thread_area
}

/// The rows of the table, one of which a call may have besides.
static ROWS: OnceRef<[SiteSlot; HOOKS.len()]> = OnceRef::new();

/// Says what rows the table has. Once, by the constructor.
pub fn start(rows: &'static [SiteSlot; HOOKS.len()]) {
    let _ = ROWS.set(rows);
}

/// Calls whose places must be turned before anything may be write-protected.
const NEEDED: [c_long; 4] = [
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_read,
    libc::SYS_recvfrom,
];

/// The slot of a system call, if it is one of these and blame is asked for.
pub fn site(number: u32) -> Option<&'static SiteSlot> {
    let mut sites = sites().iter();
    sites.find(|site| site.slot.number == number as usize)
}

/// The slots of all these calls; none where blame is not asked for.
pub fn sites() -> &'static [SiteSlot] {
    match blame::is_asked() {
        true => &SITES,
        false => &[],
    }
}

/// Whether libc's places of the calls in [`NEEDED`] were turned.
pub fn are_turned() -> bool {
    let turned = |&number: &c_long| {
        let site = site(number as u32);
        site.is_some_and(|site| site.turned.load(Ordering::Relaxed))
    };
    NEEDED.iter().all(turned)
}

extern "C" fn ask(call: &mut Call) -> Step {
    let number = call.number();
    // Also when nothing is write-protected any more: SIGSEGV is ours still.
    if signals::is_armed()
        && let Some(step) = before(call, number as c_long)
    {
        return step;
    }
    let mut rows = ROWS.get().into_iter().flatten();
    match rows.find(|row| row.slot.number == number) {
        Some(row) => (row.slot.check)(call),
        None => Step::PASS,
    }
}

/// `None`: the call goes its usual way.
fn before(call: &mut Call, number: c_long) -> Option<Step> {
    let [first, second, third, ..] = call.args;
    if number == libc::SYS_futex && !stores_to_word(second) {
        return None;
    }
    let length = length(number, call.args);
    for address in call.args {
        leave_to_kernel(address, length);
    }
    match number {
        libc::SYS_readv | libc::SYS_preadv | libc::SYS_preadv2 | libc::SYS_process_vm_readv => {
            vector(second, third)
        }
        libc::SYS_vmsplice => vector(second, third),
        libc::SYS_recvmsg => message(second),
        libc::SYS_recvmmsg => {
            for i in 0..third.min(VECTOR) {
                message(second.saturating_add(i * size_of::<libc::mmsghdr>()));
            }
        }
        // stack_t: frames of signals are put there.
        libc::SYS_sigaltstack => {
            if let Some([stack, _, length]) = read_value::<[usize; 3]>(first) {
                leave_to_kernel(stack, length);
            }
        }
        libc::SYS_rt_sigaction => return signals::action(call),
        libc::SYS_rt_sigprocmask => return signals::mask(call),
        libc::SYS_rt_sigsuspend => signals::wait(call, 0),
        libc::SYS_ppoll => signals::wait(call, 3),
        libc::SYS_epoll_pwait | libc::SYS_epoll_pwait2 => signals::wait(call, 4),
        libc::SYS_pselect6 => signals::select(call),
        _ => {}
    }
    None
}

/// Whether futex(2) stores to its words: those with an owner, and FUTEX_WAKE_OP.
fn stores_to_word(operation: usize) -> bool {
    /// linux/futex.h; libc has no name for it.
    const FUTEX_LOCK_PI2: i32 = 13;
    matches!(
        operation as i32 & libc::FUTEX_CMD_MASK,
        libc::FUTEX_WAKE_OP
            | libc::FUTEX_LOCK_PI
            | libc::FUTEX_UNLOCK_PI
            | libc::FUTEX_TRYLOCK_PI
            | libc::FUTEX_WAIT_REQUEUE_PI
            | libc::FUTEX_CMP_REQUEUE_PI
            | FUTEX_LOCK_PI2
    )
}

/// How far behind its pointers a call stores.
fn length(number: c_long, arguments: [usize; 6]) -> usize {
    let [first, second, third, fourth, ..] = arguments;
    match number {
        libc::SYS_read | libc::SYS_pread64 | libc::SYS_recvfrom => third,
        libc::SYS_getdents64 | libc::SYS_readlink | libc::SYS_msgrcv => third,
        libc::SYS_listxattr | libc::SYS_llistxattr | libc::SYS_flistxattr => third,
        libc::SYS_mq_timedreceive => third,
        libc::SYS_getrandom | libc::SYS_getcwd | libc::SYS_sched_getaffinity => second,
        libc::SYS_mincore => second / PAGE,
        libc::SYS_readlinkat => fourth,
        libc::SYS_getxattr | libc::SYS_lgetxattr | libc::SYS_fgetxattr => fourth,
        libc::SYS_poll | libc::SYS_ppoll => second.saturating_mul(size_of::<libc::pollfd>()),
        libc::SYS_epoll_wait | libc::SYS_epoll_pwait | libc::SYS_epoll_pwait2 => {
            third.saturating_mul(size_of::<libc::epoll_event>())
        }
        libc::SYS_futex | libc::SYS_set_tid_address => size_of::<u32>(),
        libc::SYS_sendmmsg => third.saturating_mul(size_of::<libc::mmsghdr>()),
        libc::SYS_syslog | libc::SYS_modify_ldt => third,
        libc::SYS_keyctl => fourth,
        libc::SYS_move_pages => second.saturating_mul(size_of::<i32>()),
        libc::SYS_getgroups => first.saturating_mul(size_of::<libc::gid_t>()),
        libc::SYS_ioctl | libc::SYS_getsockopt | libc::SYS_prctl => REQUEST,
        _ => STRUCTURE,
    }
}

fn vector(address: usize, count: usize) {
    for i in 0..count.min(VECTOR) {
        let at = address.saturating_add(i * size_of::<[usize; 2]>());
        let Some([buffer, length]) = read_value::<[usize; 2]>(at) else {
            return;
        };
        leave_to_kernel(buffer, length);
    }
}

/// struct msghdr: what it points to.
fn message(address: usize) {
    let Some([name, _, buffers, count, control, length]) = read_value::<[usize; 6]>(address) else {
        return;
    };
    leave_to_kernel(name, STRUCTURE);
    leave_to_kernel(control, length);
    vector(buffers, count);
}

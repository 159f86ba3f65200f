//! Seccomp: which system calls remain.
//!
//! Three filters, of which the strictest answer counts:
//!
//! - what nothing here ever does and an intruder wants (another program, another process's memory,
//!   mounts, namespaces, kernel keys, io_uring, …) **kills the process**: the attempt is an attack, and the
//!   supervisor's log shows the signal;
//! - calls that remain but not with every argument (a socket of another family, a process instead of a thread,
//!   memory that is written and executed) are refused with EPERM;
//! - all else that is not on the list of what remains does not exist: ENOSYS, by which libraries fall back to
//!   older calls. A list of what is allowed, since a list of what is forbidden is old with each new kernel.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter_all_threads,
};

use crate::Network;

pub(crate) enum Unconfined {
    Rules(String),
    Kernel(String),
}

/// For every thread of the process.
pub(crate) fn confine(network: &Network) -> Result<(), Unconfined> {
    let rules = |e: seccompiler::BackendError| Unconfined::Rules(e.to_string());
    // The last one leaves no way to install another.
    for filter in [killed().map_err(rules)?, refused(network).map_err(rules)?, allowed().map_err(rules)?] {
        apply_filter_all_threads(&filter).map_err(|e| Unconfined::Kernel(format!("seccomp: {e}")))?;
    }
    Ok(())
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;
type Compiled = Result<BpfProgram, seccompiler::BackendError>;

fn compile(rules: Rules, otherwise: SeccompAction, matched: SeccompAction) -> Compiled {
    let architecture = TargetArch::try_from(std::env::consts::ARCH)?;
    SeccompFilter::new(rules, otherwise, matched, architecture)?.try_into()
}

fn killed() -> Compiled {
    let rules = KILLED.iter().map(|(_, number)| (*number, Vec::new())).collect();
    compile(rules, SeccompAction::Allow, SeccompAction::KillProcess)
}

fn allowed() -> Compiled {
    let rules = ALLOWED.iter().map(|number| (*number, Vec::new())).collect();
    compile(rules, SeccompAction::Errno(libc::ENOSYS.cast_unsigned()), SeccompAction::Allow)
}

fn refused(network: &Network) -> Compiled {
    let mut rules = Rules::new();
    // Sockets of other families than these.
    let families: &[i32] = match network {
        Network::None => &[libc::AF_UNIX],
        Network::Connect(_) => &[libc::AF_UNIX, libc::AF_INET, libc::AF_INET6],
    };
    let other = families.iter().map(|family| argument(0, SeccompCmpOp::Ne, bits(*family)));
    rules.insert(libc::SYS_socket, vec![rule(other.collect::<Result<_, _>>()?)?]);
    // Raw sockets, whatever the family. Flags share the argument.
    let raw = argument(1, SeccompCmpOp::MaskedEq(0xf), bits(libc::SOCK_RAW))?;
    rules.entry(libc::SYS_socket).or_default().push(rule(vec![raw])?);
    // A process instead of a thread, or a new namespace for one.
    let process = argument(0, SeccompCmpOp::MaskedEq(bits(libc::CLONE_THREAD)), 0)?;
    let mut clones = vec![rule(vec![process])?];
    for flag in NAMESPACES {
        clones.push(rule(vec![argument(0, SeccompCmpOp::MaskedEq(bits(*flag)), bits(*flag))?])?);
    }
    rules.insert(libc::SYS_clone, clones);
    // Memory that is written and executed, and memory that becomes executable. Libraries are mapped as they are.
    let both = bits(libc::PROT_WRITE | libc::PROT_EXEC);
    rules.insert(libc::SYS_mmap, vec![rule(vec![argument(2, SeccompCmpOp::MaskedEq(both), both)?])?]);
    let exec = bits(libc::PROT_EXEC);
    rules.insert(libc::SYS_mprotect, vec![rule(vec![argument(2, SeccompCmpOp::MaskedEq(exec), exec)?])?]);
    // A thread may be named, and nothing else be set: not the mark that forbids dumps.
    let others = PRCTL.iter().map(|option| argument(0, SeccompCmpOp::Ne, bits(*option)));
    rules.insert(libc::SYS_prctl, vec![rule(others.collect::<Result<_, _>>()?)?]);
    // Typing into the terminal that started us.
    let ioctl = |request: u64| rule(vec![argument(1, SeccompCmpOp::Eq, request & 0xffff_ffff)?]);
    rules.insert(libc::SYS_ioctl, vec![ioctl(libc::TIOCSTI)?, ioctl(libc::TIOCLINUX)?]);
    // Limits of other processes.
    rules.insert(libc::SYS_prlimit64, vec![rule(vec![argument(0, SeccompCmpOp::Ne, 0)?])?]);
    compile(rules, SeccompAction::Allow, SeccompAction::Errno(libc::EPERM.cast_unsigned()))
}

fn rule(conditions: Vec<SeccompCondition>) -> Result<SeccompRule, seccompiler::BackendError> {
    SeccompRule::new(conditions)
}

/// The arguments compared here are 32 bits wide to the kernel; the upper half may hold anything.
fn argument(index: u8, op: SeccompCmpOp, value: u64) -> Result<SeccompCondition, seccompiler::BackendError> {
    SeccompCondition::new(index, SeccompCmpArgLen::Dword, op, value)
}

fn bits(value: i32) -> u64 {
    u64::from(value.cast_unsigned())
}

const NAMESPACES: &[i32] = &[
    libc::CLONE_NEWNS,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWCGROUP,
];

/// Names of threads and of memory areas, and what each further filter is installed with; it can only be given up.
const PRCTL: &[i32] = &[libc::PR_SET_NAME, libc::PR_GET_NAME, libc::PR_SET_VMA, libc::PR_SET_NO_NEW_PRIVS];

macro_rules! numbers {
    ($($name:ident)*) => { &[$((stringify!($name), libc::$name)),*] };
}

/// What kills; by name, so that the test can try each.
pub(crate) const KILLED: &[(&str, i64)] = numbers! {
    SYS_execve SYS_execveat
    SYS_ptrace SYS_process_vm_readv SYS_process_vm_writev SYS_kcmp SYS_pidfd_getfd SYS_process_madvise
    SYS_bpf SYS_perf_event_open SYS_userfaultfd SYS_io_uring_setup SYS_io_uring_enter SYS_io_uring_register
    SYS_mount SYS_umount2 SYS_move_mount SYS_open_tree SYS_fsopen SYS_fsconfig SYS_fsmount SYS_fspick
    SYS_mount_setattr SYS_pivot_root SYS_chroot SYS_setns SYS_unshare
    SYS_keyctl SYS_add_key SYS_request_key
    SYS_init_module SYS_finit_module SYS_delete_module SYS_kexec_load SYS_kexec_file_load SYS_reboot
    SYS_swapon SYS_swapoff SYS_acct SYS_quotactl SYS_settimeofday SYS_clock_settime SYS_clock_adjtime SYS_adjtimex
    SYS_sethostname SYS_setdomainname SYS_vhangup SYS_syslog SYS_personality
    SYS_name_to_handle_at SYS_open_by_handle_at SYS_memfd_create
    SYS_setuid SYS_setgid SYS_setreuid SYS_setregid SYS_setresuid SYS_setresgid SYS_setgroups SYS_setfsuid SYS_setfsgid
};

macro_rules! list {
    ($($name:ident)* ; only on x86_64: $($old:ident)*) => {
        &[$(libc::$name,)* $(#[cfg(target_arch = "x86_64")] libc::$old,)*]
    };
}

/// What remains. `clone3` is not here: its flags lie in memory, where no filter looks, and glibc falls
/// back to `clone`.
const ALLOWED: &[i64] = list! {
    // Files and descriptors.
    SYS_read SYS_write SYS_readv SYS_writev SYS_pread64 SYS_pwrite64 SYS_preadv SYS_pwritev SYS_preadv2 SYS_pwritev2
    SYS_close SYS_close_range SYS_lseek SYS_openat SYS_fstat SYS_newfstatat SYS_statx SYS_statfs SYS_fstatfs
    SYS_faccessat SYS_faccessat2 SYS_readlinkat SYS_getdents64 SYS_getcwd SYS_dup SYS_dup3 SYS_fcntl SYS_flock
    SYS_fsync SYS_fdatasync SYS_ftruncate SYS_fallocate SYS_fadvise64 SYS_renameat SYS_renameat2 SYS_unlinkat
    SYS_mkdirat SYS_fchmod SYS_fchmodat SYS_fchown SYS_fchownat SYS_umask SYS_utimensat SYS_ioctl SYS_pipe2
    // Memory.
    SYS_brk SYS_mmap SYS_munmap SYS_mremap SYS_mprotect SYS_madvise SYS_mlock SYS_mlock2 SYS_munlock SYS_membarrier
    // Threads, signals, waiting.
    SYS_clone SYS_exit SYS_exit_group SYS_futex SYS_set_robust_list SYS_get_robust_list SYS_rseq SYS_set_tid_address
    SYS_gettid SYS_getpid SYS_getppid SYS_tgkill SYS_rt_sigaction SYS_rt_sigprocmask SYS_rt_sigreturn
    SYS_rt_sigtimedwait SYS_sigaltstack SYS_restart_syscall SYS_sched_yield SYS_sched_getaffinity SYS_getcpu SYS_prctl
    SYS_ppoll SYS_pselect6 SYS_epoll_create1 SYS_epoll_ctl SYS_epoll_pwait SYS_epoll_pwait2 SYS_eventfd2
    SYS_timerfd_create SYS_timerfd_settime SYS_nanosleep SYS_clock_nanosleep SYS_clock_gettime SYS_clock_getres
    SYS_gettimeofday
    // Who we are, and what the machine is.
    SYS_getuid SYS_geteuid SYS_getgid SYS_getegid SYS_getgroups SYS_getresuid SYS_getresgid SYS_capget SYS_uname
    SYS_sysinfo SYS_getrusage SYS_prlimit64 SYS_getrlimit SYS_times SYS_getrandom
    // Sockets. Binding and connecting are landlock's; families are the second filter's.
    SYS_socket SYS_socketpair SYS_bind SYS_listen SYS_accept SYS_accept4 SYS_connect SYS_getsockname SYS_getpeername
    SYS_getsockopt SYS_setsockopt SYS_sendto SYS_recvfrom SYS_sendmsg SYS_recvmsg SYS_sendmmsg SYS_recvmmsg SYS_shutdown
    ; only on x86_64:
    SYS_open SYS_stat SYS_lstat SYS_access SYS_readlink SYS_dup2 SYS_pipe SYS_poll SYS_select SYS_epoll_wait
    SYS_epoll_create SYS_rename SYS_unlink SYS_mkdir SYS_rmdir SYS_chmod SYS_chown SYS_lchown SYS_getdents SYS_time
    SYS_arch_prctl
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_call_both_remains_and_kills() {
        for (name, number) in KILLED {
            assert!(!ALLOWED.contains(number), "{name}");
        }
    }
}

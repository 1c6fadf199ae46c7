// sys: kernel numbers that Node does not export, grouped by header. The same on x86-64 and arm64.

// sys/mman.h
export const PROT_NONE = 0;
export const PROT_READ = 1;
export const PROT_WRITE = 2;
export const MAP_SHARED = 0x01;
export const MAP_PRIVATE = 0x02;
export const MAP_ANONYMOUS = 0x20;
export const MAP_NORESERVE = 0x4000;
export const MADV_DONTFORK = 10;
export const MADV_DONTDUMP = 16;

// linux/memfd.h
export const MFD_CLOEXEC = 1;
export const MFD_ALLOW_SEALING = 2;

// fcntl.h (the O_ values Node exports come from node:fs)
export const O_CLOEXEC = 0o2000000;
export const O_NONBLOCK = 0o4000;
export const O_PATH = 0o10000000;
export const FD_CLOEXEC = 1;
export const F_GETFD = 1;
export const F_SETFD = 2;
export const F_GETFL = 3;
export const F_SETFL = 4;
export const F_DUPFD_CLOEXEC = 1030;
export const F_OFD_GETLK = 36;
export const F_OFD_SETLK = 37;
export const F_RDLCK = 0;
export const F_WRLCK = 1;
export const F_UNLCK = 2;
export const F_ADD_SEALS = 1033;
export const F_GET_SEALS = 1034;
export const F_SEAL_SHRINK = 2;

// linux/stat.h
export const AT_STATX_DONT_SYNC = 0x4000;
export const AT_EMPTY_PATH = 0x1000;
export const STATX_DIOALIGN = 0x2000;
export const S_IFMT = 0o170000;
export const S_IFIFO = 0o010000;

// linux/falloc.h
export const FALLOC_FL_KEEP_SIZE = 1;
export const FALLOC_FL_PUNCH_HOLE = 2;
export const FALLOC_FL_ZERO_RANGE = 0x10;

// unistd.h
export const SEEK_DATA = 3;
export const SEEK_HOLE = 4;

// linux/fs.h
export const BLKROGET = 0x125en;
export const BLKSSZGET = 0x1268n;
export const BLKPBSZGET = 0x127bn;
export const BLKDISCARD = 0x1277n;
export const BLKGETSIZE64 = 0x80081272n;

// linux/fs.h, for preadv2(2)
export const RWF_NOWAIT = 8;

// linux/magic.h
export const TMPFS_MAGIC = 0x01021994;
export const HUGETLBFS_MAGIC = 0x958458f6;

// sys/eventfd.h, sys/epoll.h, sys/timerfd.h: their CLOEXEC and NONBLOCK are the O_ values
export const EPOLL_CTL_ADD = 1;
export const EPOLL_CTL_DEL = 2;
export const EPOLLIN = 0x001;
export const EPOLLOUT = 0x004;

// sys/socket.h
export const AF_UNIX = 1;
export const SOCK_STREAM = 1;
export const SOCK_DGRAM = 2;
export const SOCK_SEQPACKET = 5;
export const SOL_SOCKET = 1;
export const SO_TYPE = 3;
export const SO_OOBINLINE = 10;
export const SO_ACCEPTCONN = 30;
export const SO_DOMAIN = 39;
export const SO_PEERPIDFD = 77;
export const SHUT_WR = 1;
export const SHUT_RDWR = 2;
export const SCM_RIGHTS = 1;
export const MSG_PEEK = 0x02;
export const MSG_CTRUNC = 0x08;
export const MSG_DONTWAIT = 0x40;
export const MSG_NOSIGNAL = 0x4000;
export const MSG_CMSG_CLOEXEC = 0x40000000;

// signal.h
export const SIG_BLOCK = 0;
export const SIG_UNBLOCK = 1;
export const SIG_SETMASK = 2;
export const SIG_DFL = 0n;
export const SIG_ERR = 0xffff_ffff_ffff_ffffn;

// time.h
export const CLOCK_MONOTONIC = 1;
export const CLOCK_THREAD_CPUTIME_ID = 3;
/** CPUCLOCK_PERTHREAD_MASK | CPUCLOCK_SCHED of linux/posix-timers.h: the low bits of a thread's clock. */
export const THREAD_CPU_CLOCK = 6;

// sys/resource.h
export const RUSAGE_THREAD = 1;

// linux/io_uring.h
export const IORING_OFF_SQ_RING = 0;
export const IORING_OFF_SQES = 0x1000_0000;
export const IORING_SETUP_COOP_TASKRUN = 1 << 8;
export const IORING_SETUP_TASKRUN_FLAG = 1 << 9;
export const IORING_SETUP_SINGLE_ISSUER = 1 << 12;
export const IORING_ENTER_GETEVENTS = 1 << 0;
export const IORING_SQ_CQ_OVERFLOW = 1 << 1;
export const IORING_SQ_TASKRUN = 1 << 2;
export const IORING_REGISTER_FILES = 2;
export const IORING_UNREGISTER_FILES = 3;
export const IORING_REGISTER_PROBE = 8;
export const IO_URING_OP_SUPPORTED = 1 << 0;
export const IOSQE_FIXED_FILE = 1 << 0;
export const IORING_OP_READV = 1;
export const IORING_OP_WRITEV = 2;
export const IORING_OP_FSYNC = 3;
export const IORING_OP_ASYNC_CANCEL = 14;
export const IORING_OP_FALLOCATE = 17;
export const IORING_OP_READ = 22;
export const IORING_OP_WRITE = 23;
export const IORING_FSYNC_DATASYNC = 1 << 0;
export const IORING_ASYNC_CANCEL_ALL = 1 << 0;
export const IORING_ASYNC_CANCEL_ANY = 1 << 2;

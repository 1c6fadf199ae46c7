/* The exit loop of ring-program.ts in C: the same guest, byte for byte, and the same work for each of its exits.
   yardstick PAYLOAD-HEX RINGS RUNS PROCESSOR: prints the nanoseconds of each run of RINGS rings. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { MEMORY = 1 << 20, ORIGIN = 0x1000, STACK = 0x8000, START = 0xf0, DONE = 0xf4, RING = 0xe0 };

static int must(int result, const char *what) {
  if (result < 0) {
    perror(what);
    exit(1);
  }
  return result;
}

static uint64_t now(void) {
  struct timespec at;
  clock_gettime(CLOCK_MONOTONIC, &at);
  return at.tv_sec * 1000000000ull + at.tv_nsec;
}

/* A VMM is never alone: a process of one thread is spared the reference counts of its descriptors. */
static void *other_thread(void *unused) {
  pause();
  return unused;
}

static void flat(struct kvm_segment *segment) {
  segment->base = 0;
  segment->selector = 0;
  segment->limit = 0xffffffff;
  segment->g = 1;
  segment->type = 3;
}

static uint64_t ring(int vcpu, struct kvm_run *run, int bell, uint64_t rings) {
  struct kvm_regs regs = {.rip = ORIGIN, .rsp = STACK, .rcx = rings, .rflags = 2};
  struct kvm_mp_state runnable = {KVM_MP_STATE_RUNNABLE};
  uint64_t started = 0;

  must(ioctl(vcpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");
  must(ioctl(vcpu, KVM_SET_MP_STATE, &runnable), "KVM_SET_MP_STATE");
  for (;;) {
    must(ioctl(vcpu, KVM_RUN, 0), "KVM_RUN");
    if (run->exit_reason == KVM_EXIT_MMIO || (run->exit_reason == KVM_EXIT_IO && run->io.port == RING))
      must(eventfd_write(bell, 1), "eventfd_write");
    else if (run->exit_reason == KVM_EXIT_IO && run->io.port == START)
      started = now();
    else if (run->exit_reason == KVM_EXIT_IO && run->io.port == DONE)
      return now() - started;
    else
      must(-1, "an exit of another kind");
  }
}

int main(int argc, char **argv) {
  if (argc != 5) return 2;
  cpu_set_t processor;
  CPU_ZERO(&processor);
  CPU_SET(atoi(argv[4]), &processor);
  must(sched_setaffinity(0, sizeof processor, &processor), "sched_setaffinity");

  int kvm = must(open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm");
  int vm = must(ioctl(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
  must(ioctl(vm, KVM_SET_TSS_ADDR, 0xfffbd000), "KVM_SET_TSS_ADDR");
  must(ioctl(vm, KVM_CREATE_IRQCHIP, 0), "KVM_CREATE_IRQCHIP");

  uint8_t *memory = mmap(0, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  for (size_t i = 0; argv[1][2 * i]; i++) {
    char byte[3] = {argv[1][2 * i], argv[1][2 * i + 1], 0};
    memory[ORIGIN + i] = strtoul(byte, 0, 16);
  }
  struct kvm_userspace_memory_region slot = {.memory_size = MEMORY, .userspace_addr = (uintptr_t)memory};
  must(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &slot), "KVM_SET_USER_MEMORY_REGION");

  int vcpu = must(ioctl(vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
  int bytes = must(ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), "KVM_GET_VCPU_MMAP_SIZE");
  struct kvm_run *run = mmap(0, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
  struct kvm_sregs sregs;
  must(ioctl(vcpu, KVM_GET_SREGS, &sregs), "KVM_GET_SREGS");
  flat(&sregs.ds), flat(&sregs.es), flat(&sregs.fs), flat(&sregs.gs), flat(&sregs.ss);
  sregs.cs.base = 0;
  sregs.cs.selector = 0;
  must(ioctl(vcpu, KVM_SET_SREGS, &sregs), "KVM_SET_SREGS");

  int bell = must(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd");
  pthread_t other;
  must(-pthread_create(&other, 0, other_thread, 0), "pthread_create");
  for (int runs = atoi(argv[3]); runs > 0; runs--) {
    /* As asleep as the other one is between its runs. */
    usleep(1000);
    printf("%llu\n", (unsigned long long)ring(vcpu, run, bell, strtoull(argv[2], 0, 10)));
  }
  return 0;
}

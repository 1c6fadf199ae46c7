// The microVM: how a machine ended.

/**
 * `power-off`: the guest switched it off (ACPI S5). `exit`: it chose a code (the exit port). `reset`: it asked for a reset: a reboot, or
 * what a panic does in the end. `failed`: no processor can go on; `why` is one line. `stopped`: we stopped it.
 */
export type MachineExit =
  | { readonly how: 'power-off' }
  | { readonly how: 'exit'; readonly code: number }
  | { readonly how: 'reset' }
  | { readonly how: 'failed'; readonly why: string }
  | { readonly how: 'stopped' };

// A guest of seven instructions rings a doorbell: KVM counts the rings in an eventfd, without an exit to user space.
// It needs Node 26: ./belfry leaves one in node_modules.
//   node_modules/.bin/node --disable-warning=ExperimentalWarning examples/ring-a-doorbell.ts
// In a project of your own: from 'belfry/kvm'.
import { createMemfd, EventFd, getSpecialRegisters, Kvm, setRegisters, setSpecialRegisters } from '../src/kvm/index.ts';

// Real mode: mov cx, 3; mov dx, 0xe0; again: out dx, al; loop again; mov dx, 0xf4; out dx, al; hlt
const code = [0xb9, 3, 0, 0xba, 0xe0, 0, 0xee, 0xe2, 0xfd, 0xba, 0xf4, 0, 0xee, 0xf4];

using kvm = Kvm.open();
using vm = kvm.createVm();
const memory = vm.memory.add({ guestAddress: 0, sizeBytes: 0x1000, fd: createMemfd('guest', 0x1000) });
memory.bytes.set(code, 0x100);

using vcpu = vm.createVcpu(0);
const special = getSpecialRegisters(vcpu.fd);
Object.assign(special.cs, { base: 0n, selector: 0 });
setSpecialRegisters(vcpu.fd, special);
setRegisters(vcpu.fd, { rip: 0x100n });

using bell = EventFd.create();
using _doorbell = vm.ioeventfds.assign({ bus: 'pio', address: 0xe0, lengthBytes: 1 }, bell);

vcpu.run(); // returns at the first exit
console.log(`the guest left: ${vcpu.exits.describe()}`);
console.log(`the doorbell rang: ${bell.clear()}`);

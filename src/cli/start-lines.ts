// Upper floor: how to start a virtual machine on a socket, one line for each VMM.

export function startLines(socket: string): readonly { readonly vmm: string; readonly line: string }[] {
  return [
    {
      vmm: 'QEMU',
      line:
        'qemu-system-x86_64 … -object memory-backend-memfd,id=mem,size=1G,share=on -machine memory-backend=mem -m 1G ' +
        `-chardev socket,id=disk,path=${socket} -device vhost-user-blk-pci,chardev=disk`,
    },
    {
      vmm: 'cloud-hypervisor',
      line: `cloud-hypervisor … --memory size=1G,shared=on --disk vhost_user=on,socket=${socket}`,
    },
    { vmm: 'User-Mode Linux', line: `linux.uml … mem=256M virtio_uml.device=${socket}:2` },
  ];
}

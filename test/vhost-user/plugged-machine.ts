// test/vhost-user: a machine without processors whose disk is in a vhost-user back end.
import { eventually } from '../../src/testing/raw-front-end.ts';
import { VhostUserDisk } from '../../src/vmm/vhost-user-disk.ts';
import { DrivenDisk, type DrivenDiskOptions } from './driven-disk.ts';

/** A machine with one disk behind a socket. */
export class PluggedMachine extends DrivenDisk {
  disk: VhostUserDisk | undefined;

  async plug(socket: string, whenGone: 'wait' | 'fail'): Promise<void> {
    const { loop, log, memory } = this;
    this.disk = await VhostUserDisk.connect({ socket, whenGone, memory: [memory], loop, log });
    this.disk.serve(this.connect(this.disk.host));
  }

  static async with(socket: string, whenGone: 'wait' | 'fail', options?: DrivenDiskOptions): Promise<PluggedMachine> {
    const machine = new PluggedMachine(options);
    await machine.plug(socket, whenGone);
    return machine;
  }

  async says(what: RegExp): Promise<void> {
    await eventually(`${what}, said was: ${this.lines.join('; ')}`, () => this.lines.some((line) => what.test(line)));
  }

  /** Before the back end's end, or it would wait. */
  override async [Symbol.asyncDispose](): Promise<void> {
    await this.disk?.close();
    await this.close();
    this.disk?.[Symbol.dispose]();
    await super[Symbol.asyncDispose]();
  }
}

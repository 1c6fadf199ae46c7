// metrics: the HTTP server that Prometheus reads: /metrics and nothing else.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { OperatedDevice } from '../control/operated-device.ts';
import { type DeviceState, metricsOf } from './device-metrics.ts';
import { CONTENT_TYPES, exposition, type Format } from './exposition.ts';
import { ProcessWatch, threadCpuSeconds } from './process-state.ts';

export interface MetricsAddress {
  readonly host: string;
  readonly port: number;
}

const CONNECTIONS_MAX = 32;
const REQUEST_MS = 5000;
const HEADER_BYTES_MAX = 8192;

export class MetricsServer implements Disposable {
  readonly #server: Server;
  readonly #watch = new ProcessWatch();
  readonly #devices: () => readonly OperatedDevice[];
  readonly #version: string;

  /** Call `listen` afterwards. @param devices those that are served now. */
  constructor(version: string, devices: () => readonly OperatedDevice[]) {
    this.#version = version;
    this.#devices = devices;
    const limits = { maxHeaderSize: HEADER_BYTES_MAX, requestTimeout: REQUEST_MS, headersTimeout: REQUEST_MS };
    this.#server = createServer(limits, (request, response) => this.#answer(request, response));
    this.#server.maxConnections = CONNECTIONS_MAX;
    this.#server.on('connection', (socket) => socket.unref());
  }

  /** Resolves to the port: a free one where that of the address is 0. Rejects where it cannot listen: EADDRINUSE, … */
  async listen({ host, port }: MetricsAddress): Promise<number> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#server.once('error', reject);
    this.#server.listen({ host, port }, resolve);
    await promise;
    this.#server.off('error', reject);
    this.#server.on('error', () => {});
    this.#server.unref();
    const address = this.#server.address();
    return typeof address === 'object' && address !== null ? address.port : port;
  }

  #answer({ method, url = '', headers }: IncomingMessage, response: ServerResponse): void {
    const [path] = url.split('?');
    if (method !== 'GET' && method !== 'HEAD') return refuse(response, 405, 'only GET is answered here');
    if (path !== '/metrics') return refuse(response, 404, 'the metrics are at /metrics');
    const format: Format = headers.accept?.includes('application/openmetrics-text') ? 'openmetrics' : 'prometheus';
    const text = exposition(this.families(), format);
    response.writeHead(200, { 'content-type': CONTENT_TYPES[format] });
    response.end(method === 'HEAD' ? undefined : text);
  }

  /** Every metric as it is now. Shared memory is read; threads are asked, and their answers are in the next reading. */
  families() {
    return metricsOf(this.#devices().map(stateOf), this.#watch.read(), this.#version);
  }

  [Symbol.dispose](): void {
    this.#watch[Symbol.dispose]();
    this.#server.closeAllConnections();
    this.#server.close();
  }
}

function stateOf(device: OperatedDevice): DeviceState {
  const { daemon } = device.options;
  const { snapshot, answerSeconds } = device.probe();
  const threadSeconds = daemon.threadIds.map(threadCpuSeconds);
  return { device, counts: daemon.counts(), snapshot, answerSeconds, threadSeconds };
}

function refuse(response: ServerResponse, status: number, line: string): void {
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' });
  response.end(`${line}\n`);
}

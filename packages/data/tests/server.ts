import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** A request as tests look at it. */
export interface Seen {
  readonly path: string;
  readonly range: string | undefined;
}

export type Handler = (request: IncomingMessage, response: ServerResponse, visit: number) => void;

/** A server on this machine alone, with one handler per path; others are 404. */
export interface TestServer {
  readonly url: string;
  readonly seen: Seen[];
  /** What a download says of its progress, so that {@link cutAfter} knows what has arrived. */
  readonly onProgress: (progress: { readonly received: number }) => void;
  /** Bytes that the last download has, as far as it said so. */
  received: number;
  on(path: string, handler: Handler): void;
  close(): Promise<void>;
}

export async function startServer(): Promise<TestServer> {
  const handlers = new Map<string, Handler>();
  const seen: Seen[] = [];
  const server = createServer((request, response) => {
    const path = request.url ?? "";
    seen.push({ path, range: request.headers.range });
    const handler = handlers.get(path);
    if (handler === undefined) response.writeHead(404).end("no such file");
    else handler(request, response, seen.filter((one) => one.path === path).length);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const own: TestServer = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    received: 0,
    onProgress: ({ received }) => {
      own.received = received;
    },
    on: (path, handler) => handlers.set(path, handler),
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
  return own;
}

/** Serves the file as a good server does, ranges included. */
export function whole(body: Uint8Array): Handler {
  return (request, response) => {
    const start = rangeStart(request);
    if (start === undefined) {
      response.writeHead(200, { "content-length": body.length }).end(body);
    } else if (start >= body.length) {
      response.writeHead(416, { "content-range": `bytes */${body.length}` }).end();
    } else {
      const headers = {
        "content-length": body.length - start,
        "content-range": `bytes ${start}-${body.length - 1}/${body.length}`,
      };
      response.writeHead(206, headers).end(body.subarray(start));
    }
  };
}

/** Promises the whole rest of the file, sends `count` bytes of it and cuts the connection once they have arrived. */
export function cutAfter(server: TestServer, body: Uint8Array, count: number): Handler {
  return (request, response) => {
    const start = rangeStart(request) ?? 0;
    const headers: Record<string, string | number> = { "content-length": body.length - start };
    if (start > 0) headers["content-range"] = `bytes ${start}-${body.length - 1}/${body.length}`;
    response.writeHead(start > 0 ? 206 : 200, headers);
    server.received = 0;
    response.write(body.subarray(start, start + count));
    const waiting = setInterval(() => {
      if (server.received < start + count) return;
      clearInterval(waiting);
      response.destroy();
    }, 5);
    response.on("close", () => clearInterval(waiting));
  };
}

function rangeStart(request: IncomingMessage): number | undefined {
  const match = /^bytes=(\d+)-$/.exec(request.headers.range ?? "");
  return match === null ? undefined : Number(match[1]);
}

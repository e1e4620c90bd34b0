import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { onTestFinished } from "vitest";

export type Handler = (request: IncomingMessage, response: ServerResponse) => void;

/** A hub on this machine alone, with one model, and what was asked of it. */
export interface TestHub {
  readonly url: string;
  readonly commit: string;
  /** Paths asked for, each with its range. */
  readonly seen: string[];
  readonly tokens: (string | undefined)[];
  /** Files by path; what is listed is computed from them unless `listed` says otherwise. */
  readonly files: Map<string, Uint8Array>;
  /** Replaces entries of the listing. */
  readonly listed: Map<string, object>;
  /** Replaces the answer for a path of the server. */
  readonly handlers: Map<string, Handler>;
  close(): void;
}

const COMMIT = "0123456789abcdef0123456789abcdef01234567";
/** Bytes from which on files are listed with a SHA-256. */
const LARGE = 1000;

export async function startHub(model: string, files: Readonly<Record<string, Uint8Array>>): Promise<TestHub> {
  const hub = { commit: COMMIT, seen: [] as string[], tokens: [] as (string | undefined)[] };
  const contents = new Map(Object.entries(files));
  const listed = new Map<string, object>();
  const handlers = new Map<string, Handler>();
  const server = createServer((request, response) => {
    const path = decodeURIComponent((request.url ?? "").replace(/\?.*/, ""));
    hub.seen.push(path + (request.headers.range === undefined ? "" : ` ${request.headers.range}`));
    hub.tokens.push(request.headers.authorization);
    const handler = handlers.get(path);
    if (handler !== undefined) return handler(request, response);
    const send = (value: unknown): unknown =>
      response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(value));
    if (path === `/api/models/${model}/revision/main` || path === `/api/models/${model}/revision/${COMMIT}`)
      return send({ _id: "1", id: model, sha: COMMIT, lastModified: "2020-01-01T00:00:00Z" });
    if (path === `/api/models/${model}/tree/${COMMIT}`)
      return send([...contents].map(([name, bytes]) => listed.get(name) ?? entry(name, bytes)));
    const found = contents.get(path.replace(`/${model}/resolve/${COMMIT}/`, ""));
    return found === undefined ? response.writeHead(404).end("{}") : sendFile(request, response, found);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const close = (): void => {
    server.closeAllConnections();
    server.close();
  };
  onTestFinished(close);
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { ...hub, url, files: contents, listed, handlers, close };
}

/** What the hub lists of a file. */
export function entry(path: string, bytes: Uint8Array): object {
  const git = createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");
  const common = { type: "file", path, size: bytes.length, oid: git };
  const oid = createHash("sha256").update(bytes).digest("hex");
  return bytes.length < LARGE ? common : { ...common, lfs: { oid, size: bytes.length, pointerSize: 130 } };
}

/** Sends a file, or the rest of it that is asked for. */
function sendFile(request: IncomingMessage, response: ServerResponse, bytes: Uint8Array): void {
  const start = Number(/^bytes=(\d+)-/.exec(request.headers.range ?? "")?.[1] ?? 0);
  const headers = { "content-length": bytes.length - start };
  if (start === 0) response.writeHead(200, headers).end(bytes);
  else
    response
      .writeHead(206, { ...headers, "content-range": `bytes ${start}-${bytes.length - 1}/${bytes.length}` })
      .end(bytes.subarray(start));
}

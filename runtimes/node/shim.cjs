// Runs one JavaScript handler for fermata-invoker; see runtimes/README.md for the protocol. The invoker puts
// fermata/index.cjs before it.

const { existsSync, readdirSync } = require("node:fs");
const { createRequire } = require("node:module");
const { Socket } = require("node:net");
const { join } = require("node:path");
const { pathToFileURL } = require("node:url");

const builtin = require;

// What only this script gets, and what would have a handler's cluster run it again.
for (const name of ["require", "exports", "__filename"]) delete globalThis[name];
process.execArgv = [];

const CALL = 1, CANCEL = 2, CREDIT = 3;
const READY = 16, RESPONSE = 17, HEAD = 18, DATA = 19, END = 20, ERROR = 21;
const CHUNK = 65536;
const WINDOW = 262144;
const LARGEST_HEAD = 32768;
const LARGEST_DETAIL = 8192;

class Gone extends Error {}

globalThis.fermata = Object.freeze({ HttpError });

// Node.js itself keeps a descriptor of this number from the programs that a handler starts.
const link = new Socket({ fd: Number(process.env.FERMATA_LINK), readable: true, writable: true });
delete process.env.FERMATA_LINK;
const calls = new Map();

// Without a link the process can answer nobody.
link.on("error", (error) => {
  // After the invoker's own end there is nothing to tell.
  if (error.code !== "EPIPE" && error.code !== "ECONNRESET") {
    say(`fermata: the link to the invoker is lost: ${error.message}`);
  }
  process.exit(1);
});

function frame(kind, id, payload) {
  const header = Buffer.allocUnsafe(9);
  header.writeUInt32BE(payload.length, 0);
  header[4] = kind;
  header.writeUInt32BE(id, 5);
  return [header, payload];
}

function send(...frames) {
  link.write(Buffer.concat(frames.flat()));
}

function encodeHead(status, headers) {
  const parts = [String(status)];
  for (const [name, value] of headers) parts.push(String(name), String(value));
  // A part with a NUL would be two of them, and a character beyond Latin-1 would become another
  // one; whatever else is wrong with a part, the invoker says.
  for (let i = 1; i < parts.length; i += 2) {
    const name = JSON.stringify(parts[i].slice(0, 100));
    if (!/^[\x01-\x7f]*$/.test(parts[i])) throw new TypeError(`${name} is no name of a header field`);
    const bad = /[\0\u0100-\uffff]/.exec(parts[i + 1]);
    if (bad) {
      const what = bad[0] === "\0" ? "control character" : "character beyond Latin-1";
      throw new TypeError(`the header field ${name} has a value with a ${what}`);
    }
  }
  const head = Buffer.from(parts.join("\0"), "latin1");
  if (head.length > LARGEST_HEAD) {
    throw new TypeError(`the header fields take ${head.length} bytes, more than ${LARGEST_HEAD}`);
  }
  return head;
}

function readRequest(payload) {
  const size = payload.readUInt32BE(0);
  const [method, ...rest] = payload.toString("latin1", 4, 4 + size).split("\0");
  const [path, query] = rest.splice(0, 2).map(utf8);
  const headers = Object.create(null);
  for (let i = 0; i < rest.length; i += 2) {
    const name = rest[i];
    // Over HTTP/2 cookies may come in several fields (RFC 9113, section 8.2.3).
    const between = name === "cookie" ? "; " : ", ";
    headers[name] = name in headers ? headers[name] + between + rest[i + 1] : rest[i + 1];
  }
  return new FunctionRequest(method, path, query, headers, payload.subarray(4 + size));
}

/** A path or a query, which may hold UTF-8 as it is. */
function utf8(latin1) {
  return /^[\0-\x7f]*$/.test(latin1) ? latin1 : Buffer.from(latin1, "latin1").toString("utf8");
}

async function pump(call, data) {
  for (let rest = data; rest.length > 0; ) {
    if (call.cancelled) throw new Gone();
    const granted = Math.min(rest.length, CHUNK, call.credit);
    if (granted > 0) {
      call.credit -= granted;
      send(frame(DATA, call.id, rest.subarray(0, granted)));
      rest = rest.subarray(granted);
    } else {
      await new Promise((resolve) => (call.wake = resolve));
    }
  }
}

async function answerWhole(call, status, headers, data, type) {
  const head = encodeHead(status, withType(headers, type));
  if (data.length <= CHUNK) {
    const size = Buffer.allocUnsafe(4);
    size.writeUInt32BE(head.length, 0);
    send(frame(RESPONSE, call.id, Buffer.concat([size, head, data])));
    return;
  }
  send(frame(HEAD, call.id, head));
  await pump(call, data);
  send(frame(END, call.id, Buffer.alloc(0)));
}

async function answerStream(call, status, headers, stream) {
  const iterator = stream[Symbol.asyncIterator]?.() ?? stream[Symbol.iterator]();
  let finished = false;
  try {
    // An error before the first piece can still be told as a status.
    let step = await iterator.next();
    const text = typeof step.value === "string";
    const type = text ? "text/plain; charset=utf-8" : "application/octet-stream";
    send(frame(HEAD, call.id, encodeHead(status, withType(headers, type))));
    while (!step.done) {
      await pump(call, bytes(step.value));
      step = await iterator.next();
    }
    finished = true;
    send(frame(END, call.id, Buffer.alloc(0)));
  } finally {
    if (!finished) Promise.resolve(iterator.return?.()).catch(() => {});
  }
}

async function answer(call, result) {
  const { status, headers, data, stream, type } = unpack(result);
  if (stream) return answerStream(call, status, headers, stream);
  return answerWhole(call, status, headers, data, type);
}

/** Status and text of an error that is meant for the caller; none of any other error. */
function told(error) {
  const { status, expose, message } = error;
  // Libraries give their errors a status as well, of an upstream's answer for example; http-errors
  // and its kin say with `expose` that it is meant for the caller.
  const most = error instanceof HttpError ? 599 : 499;
  if (expose !== true || !Number.isInteger(status) || status < 400 || status > most) return null;
  return { status, text: String(message ?? "").slice(0, LARGEST_DETAIL) };
}

/** Whatever was thrown, which may be nothing or an object that fails when it is looked at. */
function failed(call, request, error) {
  const where = named(request);
  let meant = null;
  try {
    meant = told(error);
  } catch {}
  if (meant) {
    say(`fermata: the handler answered ${where} with ${meant.status}: ${JSON.stringify(meant.text)}`);
    send(frame(ERROR, call.id, Buffer.from(`${meant.status}\0${meant.text}`, "utf8")));
    return;
  }
  say(`fermata: the handler failed on ${where}`);
  say(error);
  send(frame(ERROR, call.id, Buffer.from("500\0the function failed; its log says why", "utf8")));
}

const consoleError = console.error.bind(console);

/** Writes to the log, also where it cannot say what it was given. */
function say(thing) {
  try {
    consoleError(thing);
  } catch {
    consoleError("fermata: the error cannot be told");
  }
}

async function run(handler, call, payload) {
  const request = readRequest(payload);
  try {
    await answer(call, await handler(request));
  } catch (error) {
    if (!(error instanceof Gone) && !call.cancelled) failed(call, request, error);
  } finally {
    calls.delete(call.id);
  }
}

function receive(handler, kind, id, payload) {
  if (kind === CALL) {
    const call = { id, credit: WINDOW, cancelled: false, wake: null };
    calls.set(id, call);
    run(handler, call, payload);
    return;
  }
  const call = calls.get(id);
  if (!call) return;
  if (kind === CREDIT) call.credit += payload.readUInt32BE(0);
  if (kind === CANCEL) call.cancelled = true;
  const wake = call.wake;
  call.wake = null;
  wake?.();
}

function serve(handler) {
  let parts = [];
  let size = 0;
  let wanted = 9;
  link.on("data", (data) => {
    parts.push(data);
    size += data.length;
    if (size < wanted) return;
    let buffer = parts.length === 1 ? parts[0] : Buffer.concat(parts, size);
    while (buffer.length >= 9 && buffer.length >= 9 + buffer.readUInt32BE(0)) {
      const length = buffer.readUInt32BE(0);
      receive(handler, buffer[4], buffer.readUInt32BE(5), buffer.subarray(9, 9 + length));
      buffer = buffer.subarray(9 + length);
    }
    parts = buffer.length > 0 ? [buffer] : [];
    size = buffer.length;
    wanted = size >= 9 ? 9 + buffer.readUInt32BE(0) : 9;
  });
  // Nobody is there any more who could be answered.
  link.on("close", () => process.exit(0));
  send(frame(READY, 0, Buffer.alloc(0)));
}

// A request in a sentence, with the id that the gateway gave it if it can stand in a line.
function named(request) {
  const id = String(request.headers["x-request-id"] ?? "").slice(0, 64);
  return `${request.method} ${request.path}` + (/^[\x21-\x7e]+$/.test(id) ? ` (request ${id})` : "");
}

function fail(message) {
  console.error(`fermata: ${message}`);
  process.exit(1);
}

async function load(spec) {
  const dot = spec.lastIndexOf(".");
  if (dot <= 0 || dot === spec.length - 1) {
    fail(`the handler ${JSON.stringify(spec)} must be written MODULE.FUNCTION, such as main.handle`);
  }
  const [base, name] = [spec.slice(0, dot), spec.slice(dot + 1)];
  const present = (endings) => endings.map((ending) => base + ending).find((file) => existsSync(file));
  // JavaScript goes before TypeScript, of which it is perhaps what a compiler has made.
  const script = present([".mjs", ".js", ".cjs"]);
  const types = script ? undefined : present([".mts", ".ts", ".cts"]);
  const file = script ?? types;
  if (!file) {
    const files = readdirSync(".").sort().join(", ") || "nothing";
    fail(`there is no ${base}.mjs, .js, .cjs, .mts, .ts or .cts for the handler ${spec}; the source has: ${files}`);
  }
  if (types) await readTypes(types);
  const module = await import(pathToFileURL(join(process.cwd(), file)).href);
  // "handle" is the default's name, and a default export is known by none.
  const nameless = name === "handle" && typeof module.default === "function" ? module.default : undefined;
  const handler = module[name] ?? module.default?.[name] ?? nameless;
  if (handler === undefined) fail(`${file} exports no ${name}, which the handler ${spec} names`);
  if (typeof handler !== "function") fail(`${spec} is a ${typeof handler} and cannot be called`);
  return handler;
}

/** Has TypeScript understood: by tsx if the function has it, else by Node.js itself where it strips types. */
async function readTypes(file) {
  const own = createRequire(join(process.cwd(), file));
  const has = (name) => {
    try {
      return Boolean(own.resolve(name));
    } catch {
      return false;
    }
  };
  const [modules, scripts] = ["tsx/esm/api", "tsx/cjs/api"];
  if (!has(modules) || !has(scripts)) {
    // Undefined in versions that do not strip types by themselves.
    if (process.features.typescript) return;
    fail(`${file} is TypeScript, which Node.js ${process.version} runs with the package tsx alone: npm install tsx`);
  }
  // Its cache in the folder for temporary files is of no use to an instance, which starts once, and on a
  // cluster there is no such folder.
  const cache = process.env.TSX_DISABLE_CACHE;
  process.env.TSX_DISABLE_CACHE = "1";
  try {
    // From the folder of the function, since a script that is an argument is taken to be there.
    for (const name of [scripts, modules]) (await import(name)).register();
  } finally {
    if (cache === undefined) delete process.env.TSX_DISABLE_CACHE;
    else process.env.TSX_DISABLE_CACHE = cache;
  }
}

// The file and the line that an error comes from, if it is one of the function's.
function place(error) {
  const source = new RegExp(`${process.cwd().replace(/[^\w/]/g, "\\$&")}/([^/\\s:]+):(\\d+)`);
  let found = source.exec(String(error?.stack));
  if (!found && error instanceof SyntaxError) {
    // Node.js keeps the place of a syntax error in a module to itself, but tells it who asks for the file.
    const { spawnSync } = builtin("node:child_process");
    for (const file of readdirSync(".").filter((file) => /\.[cm]?[jt]s$/.test(file))) {
      const asked = spawnSync(process.execPath, ["--check", file], { encoding: "utf8", timeout: 5000 });
      found = asked.status ? source.exec(asked.stderr) : null;
      if (found) break;
    }
  }
  return found ? `${found[1]}, line ${found[2]}: ` : "";
}

// The invoker ends this process by closing the link, when the running calls are done.
for (const signal of ["SIGTERM", "SIGINT"]) process.on(signal, () => {});

load(process.env.FERMATA_HANDLER || "main.handle").then(serve, (error) => {
  console.error(error);
  // The last line is what the cluster shows.
  const told = String(error).replace(/\s*\n\s*/g, " ").trim();
  console.error(`fermata: the handler cannot be loaded: ${place(error)}${told}`);
  process.exit(1);
});

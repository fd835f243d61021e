// What a handler gets and may return: the first part of the program that runs handlers (see shim.cjs), and the
// package `fermata` of editors and tests.
"use strict";

/** A request: method, path, query, headers and body. */
class FunctionRequest {
  #query;

  constructor(method, path, queryString, headers, body) {
    this.method = method;
    this.path = path;
    this.queryString = queryString;
    this.headers = headers;
    this.body = body;
  }

  /** The query's parameters, as URLSearchParams. */
  get query() {
    this.#query ??= new URLSearchParams(this.queryString);
    return this.#query;
  }

  /** The body as text, in the charset it is declared in, else UTF-8; 400 for the caller if it is none. */
  text() {
    const charset = charsetOf(this.headers["content-type"] ?? "");
    let decoder;
    try {
      decoder = new TextDecoder(charset, { fatal: true, ignoreBOM: true });
    } catch {
      throw new HttpError(400, `the body's charset ${JSON.stringify(charset.slice(0, 40))} is not known`);
    }
    try {
      return decoder.decode(this.body);
    } catch {
      throw new HttpError(400, `the body is not text in ${charset.slice(0, 40)}`);
    }
  }

  /** The body as JSON (RFC 8259); 400 for the caller if it is none. */
  json() {
    try {
      return parseJson(this.body);
    } catch (error) {
      throw new HttpError(400, `the body is not JSON: ${error.message}`);
    }
  }
}

function charsetOf(type) {
  for (const part of type.split(";").slice(1)) {
    const [name, value = ""] = part.trim().split("=", 2);
    if (name.toLowerCase() === "charset") return value.replace(/^"|"$/g, "");
  }
  return "utf-8";
}

// How deep JSON may be nested, so that a program may walk it by calling itself.
const NESTING = 256;

function parseJson(body) {
  const text = new TextDecoder("utf-8", { fatal: true }).decode(body);
  if (isDeeper(body, NESTING)) throw new Error(`it is nested more than ${NESTING} deep`);
  // What could not be sent again is no text; see RFC 8259, section 8.2.
  return JSON.parse(text, /\\u[dD]/.test(text) ? wellFormed : undefined);
}

function wellFormed(key, value) {
  if (!key.isWellFormed() || (typeof value === "string" && !value.isWellFormed())) {
    throw new Error("half of a surrogate pair stands alone");
  }
  return value;
}

function isDeeper(json, most) {
  const QUOTE = 0x22, BACKSLASH = 0x5c, LIST = 0x5b, OBJECT = 0x7b, LIST_END = 0x5d, OBJECT_END = 0x7d;
  let depth = 0;
  let quoted = false;
  for (let i = 0; i < json.length; i += 1) {
    const byte = json[i];
    if (byte === QUOTE) quoted = !quoted;
    else if (quoted) i += byte === BACKSLASH ? 1 : 0;
    else if (byte === LIST_END || byte === OBJECT_END) depth -= 1;
    else if ((byte === LIST || byte === OBJECT) && ++depth > most) return true;
  }
  return false;
}

/** Throw it to answer with an error; the message is for the caller. */
class HttpError extends Error {
  constructor(status, message = "") {
    super(message);
    this.status = status;
    this.expose = true;
  }
}

/** What a handler returned, as status, header fields and either data or a stream, and the type it has by itself. */
function unpack(result) {
  if (result === null || result === undefined) {
    return { status: 204, headers: [], data: Buffer.alloc(0), type: null };
  }
  // Looking at the name first spares the time to load the class for those who never use it.
  if (result?.constructor?.name === "Response" && result instanceof Response) {
    const { status, body } = result;
    const headers = [...result.headers];
    return body === null ? { status, headers, data: Buffer.alloc(0), type: null } : { status, headers, stream: body };
  }
  if (typeof result === "string") return whole(Buffer.from(result, "utf8"), "text/plain; charset=utf-8");
  if (result instanceof Uint8Array || result instanceof ArrayBuffer) {
    return whole(bytes(result), "application/octet-stream");
  }
  if (isStream(result)) return { status: 200, headers: [], stream: result };
  const json = JSON.stringify(result);
  if (json === undefined) {
    throw new TypeError(
      `a handler cannot return a ${typeof result}; it returns text, bytes, something JSON can say, ` +
        "null, a Response or an iterator",
    );
  }
  return whole(Buffer.from(json, "utf8"), "application/json");
}

function whole(data, type) {
  return { status: 200, headers: [], data, type };
}

function bytes(item) {
  if (typeof item === "string") return Buffer.from(item, "utf8");
  if (item instanceof Uint8Array) return Buffer.from(item.buffer, item.byteOffset, item.byteLength);
  if (item instanceof ArrayBuffer) return Buffer.from(item);
  throw new TypeError(`a stream must give text or bytes, not ${typeof item}`);
}

function isStream(value) {
  return (
    typeof value === "object" &&
    value !== null &&
    (Symbol.asyncIterator in value || (Symbol.iterator in value && typeof value.next === "function"))
  );
}

function withType(headers, type) {
  const given = headers.some(([name]) => name.toLowerCase() === "content-type");
  if (type && !given) headers.push(["content-type", type]);
  return headers;
}

if (typeof module === "object") module.exports = { FunctionRequest, HttpError, bytes, unpack, withType };


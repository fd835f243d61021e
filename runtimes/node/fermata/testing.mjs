// A client that calls a handler without a server.
import api from "./index.cjs";

const { FunctionRequest, HttpError, bytes, unpack, withType } = api;

// What a function has without an import.
globalThis.fermata ??= Object.freeze({ HttpError });

export class Client {
  #handler;

  constructor(handler) {
    this.#handler = handler;
  }

  async request(method, url = "/", { headers = {}, body = "", json } = {}) {
    const target = new URL(url, "http://localhost");
    const fields = new Headers(headers);
    if (json !== undefined) {
      body = JSON.stringify(json);
      if (!fields.has("content-type")) fields.set("content-type", "application/json");
    }
    const data = Buffer.from(body);
    const given = Object.assign(Object.create(null), { host: target.host }, Object.fromEntries(fields));
    if (data.length > 0) given["content-length"] = String(data.length);
    const query = target.search.slice(1);
    try {
      return await response(await this.#handler(new FunctionRequest(method.toUpperCase(), target.pathname, query, given, data)));
    } catch (error) {
      if (error instanceof HttpError) return problem(error);
      throw error;
    }
  }
}

for (const method of ["get", "post", "put", "patch", "delete"]) {
  Object.defineProperty(Client.prototype, method, {
    value(url, options) {
      return this.request(method, url, options);
    },
  });
}

async function response(result) {
  const { status, headers, data, stream, type } = unpack(result);
  const pieces = [];
  if (stream) for await (const piece of stream) pieces.push(piece);
  const byItself = typeof pieces[0] === "string" ? "text/plain; charset=utf-8" : "application/octet-stream";
  const body = stream ? Buffer.concat(pieces.map(bytes)) : data;
  const isBodiless = status === 204 || status === 205 || status === 304;
  return new Response(isBodiless ? null : body, { status, headers: withType(headers, stream ? byItself : type) });
}

/** See RFC 9457. */
function problem({ status, message }) {
  const headers = { "content-type": "application/problem+json" };
  return new Response(JSON.stringify({ status, detail: message }), { status, headers });
}

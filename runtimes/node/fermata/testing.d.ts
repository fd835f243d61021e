import type { Handler } from "./index.js";

export interface Options {
  headers?: Record<string, string> | [string, string][];
  body?: string | Uint8Array;
  /** The body as something that JSON can say. */
  json?: unknown;
}

/**
 * Calls a handler with requests as a function gets them. An HttpError becomes a response, as it does for a
 * caller; any other error, for which a caller gets 500, comes out of the call.
 */
export declare class Client {
  constructor(handler: Handler);
  /** The URL is a path with a query. */
  request(method: string, url?: string, options?: Options): Promise<Response>;
  get(url?: string, options?: Options): Promise<Response>;
  post(url?: string, options?: Options): Promise<Response>;
  put(url?: string, options?: Options): Promise<Response>;
  patch(url?: string, options?: Options): Promise<Response>;
  delete(url?: string, options?: Options): Promise<Response>;
}

// What a handler gets and may return.

/** A request: method, path, query, headers and body. */
export interface FunctionRequest {
  readonly method: string;
  /** As it was sent, with its escapes. */
  readonly path: string;
  readonly queryString: string;
  /** Names in lower case; fields of one name are joined by ", ", cookies by "; ". */
  readonly headers: Readonly<Record<string, string>>;
  /** A Buffer. */
  readonly body: Uint8Array;
  readonly query: URLSearchParams;
  /** The body as text, in the charset it is declared in, else UTF-8; 400 for the caller if it is none. */
  text(): string;
  /** The body as JSON (RFC 8259); 400 for the caller if it is none. */
  json(): any;
}

export type Piece = string | Uint8Array | ArrayBuffer;

/**
 * What a handler may return: text, bytes, anything that JSON can say, nothing (204), a Response of the web
 * standard, or an iterator of pieces.
 */
export type Result = Piece | Response | AsyncIterable<Piece> | Iterator<Piece> | object | number | boolean | null | undefined | void;

export type Handler = (request: FunctionRequest) => Result | Promise<Result>;

/** Throw it to answer with an error, of a status from 400 to 599; the message is for the caller. */
export declare class HttpError extends Error {
  constructor(status: number, message?: string);
  readonly status: number;
  readonly expose: true;
}

declare global {
  /** What a function has without an import. */
  var fermata: { readonly HttpError: typeof HttpError };
}

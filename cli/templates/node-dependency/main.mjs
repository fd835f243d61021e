import prettyBytes from "pretty-bytes";

export function handle(request) {
  const name = request.text() || "world";
  const size = prettyBytes(Buffer.byteLength(name));
  return `Hello, ${name}! Your name has ${size}.\n`;
}

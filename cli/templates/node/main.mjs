export function handle(request) {
  const name = request.text() || "world";
  return `Hello, ${name}!\n`;
}

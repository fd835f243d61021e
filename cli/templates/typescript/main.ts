import type { FunctionRequest } from "fermata";

export function handle(request: FunctionRequest): string {
  const name = request.text() || "world";
  return `Hello, ${name}!\n`;
}

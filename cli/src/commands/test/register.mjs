// Has modules find their packages, and TypeScript read by the package that is named.
import { register } from "node:module";

register("./hooks.mjs", import.meta.url);
const loader = process.env.FERMATA_TEST_LOADER;
if (loader) await import(loader);

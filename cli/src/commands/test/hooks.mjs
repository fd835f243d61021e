// Finds packages for modules that have none of the name beside themselves or above.
import { delimiter, join } from "node:path";
import { pathToFileURL } from "node:url";

const places = process.env.FERMATA_TEST_PLACES.split(delimiter).map((place) => pathToFileURL(join(place, "x")).href);

export async function resolve(specifier, context, next) {
  try {
    return await next(specifier, context);
  } catch (error) {
    const isPackage = !/^(\.|\/|[a-z]+:)/.test(specifier);
    if (error.code !== "ERR_MODULE_NOT_FOUND" || !isPackage) throw error;
    for (const parentURL of places) {
      try {
        return await next(specifier, { ...context, parentURL });
      } catch (another) {
        if (another.code !== "ERR_MODULE_NOT_FOUND") throw another;
      }
    }
    throw error;
  }
}

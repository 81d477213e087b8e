/**
 * The metadata tree as a value (ECS user guide, "Instance metadata items"): directories are maps, leaves are text,
 * bytes, or a function for what changes from one read to the next.
 */

export type Leaf = string | Buffer | ((query: URLSearchParams) => string)
export type Directory = ReadonlyMap<string, Node>
export type Node = Leaf | Directory

/** Builds a directory; an entry that is undefined is one that this instance does not have. */
export function directory(entries: Readonly<Record<string, Node | undefined>>): Directory {
  return directoryOf(Object.entries(entries))
}

/** As {@link directory}, for names that come from outside and may be any string. */
export function directoryOf(entries: Iterable<readonly [string, Node | undefined]>): Directory {
  const present = new Map<string, Node>()
  for (const [name, node] of entries) if (node !== undefined) present.set(name, node)
  return present
}

export function isDirectory(node: Node): node is Directory {
  return node instanceof Map
}

/**
 * Finds what stands at a path of names. A directory answers with and without a trailing slash,
 * a leaf only without: `instance-id/` names a directory that does not exist.
 */
export function lookUp(root: Directory, path: string): Node | undefined {
  const names = path.split('/').filter((name) => name !== '')
  let node: Node | undefined = root
  for (const name of names) node = node && isDirectory(node) ? node.get(name) : undefined
  return node && path.endsWith('/') && !isDirectory(node) ? undefined : node
}

/** One name a line, directories with a slash, byte order with the slash counted, no LF at the end. */
export function list(directory: Directory): string {
  const names = [...directory].map(([name, node]) => (isDirectory(node) ? `${name}/` : name))
  return names
    .map((name) => Buffer.from(name))
    .sort(Buffer.compare)
    .join('\n')
}

export function read(leaf: Leaf, query: URLSearchParams): Buffer {
  if (Buffer.isBuffer(leaf)) return leaf
  return Buffer.from(typeof leaf === 'string' ? leaf : leaf(query))
}

/** `meta-data/all`: every leaf as a JSON string, the lines of one leaf joined with CR LF. */
export function toJson(directory: Directory): string {
  return JSON.stringify(toObject(directory))
}

function toObject(directory: Directory): object {
  const entries = [...directory].map(([name, node]): [string, unknown] => [
    name,
    isDirectory(node) ? toObject(node) : readText(node).replaceAll('\n', '\r\n'),
  ])
  return Object.fromEntries(entries)
}

function readText(leaf: Leaf): string {
  return read(leaf, new URLSearchParams()).toString()
}

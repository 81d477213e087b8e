/** What is compiled into the Node.js that is shipped, by its own word (`process.versions`). */

export interface RuntimePart {
  readonly name: string
  readonly version: string
  /** An SPDX expression. */
  readonly licence: string
  /** The name in NVD's dictionary, for those that scanners look up by it. */
  readonly cpe: string | undefined
}

// The licences are those of Node's LICENSE, and those in licences/ of what that lacks.
const LICENCES: Readonly<Record<string, string>> = {
  acorn: 'MIT',
  ada: 'MIT',
  amaro: 'MIT',
  ares: 'MIT',
  brotli: 'MIT',
  cldr: 'Unicode-3.0',
  icu: 'Unicode-3.0',
  libffi: 'MIT',
  lief: 'Apache-2.0',
  llhttp: 'MIT',
  merve: 'MIT',
  nbytes: 'MIT',
  ncrypto: 'MIT',
  nghttp2: 'MIT',
  nghttp3: 'MIT',
  ngtcp2: 'MIT',
  openssl: 'Apache-2.0',
  simdjson: 'Apache-2.0',
  simdutf: 'MIT',
  sqlite: 'blessing',
  tz: 'LicenseRef-Public-Domain',
  undici: 'MIT',
  uv: 'MIT',
  uvwasi: 'MIT',
  v8: 'BSD-3-Clause',
  zlib: 'Zlib',
  zstd: 'BSD-3-Clause',
}

// Versions of interfaces and of a standard, and Node itself.
const NO_PARTS = new Set(['node', 'modules', 'napi', 'unicode'])

const CPE_PRODUCTS: Readonly<Record<string, string>> = {
  node: 'nodejs:node.js',
  openssl: 'openssl:openssl',
  v8: 'google:v8',
}

/**
 * @param versions `process.versions` of the Node that is shipped
 * @throws Error for a part whose licence is not known: it must not be shipped unseen
 */
export function runtimeParts(versions: Readonly<NodeJS.ProcessVersions>): RuntimePart[] {
  // Node names what it could be built with; those that it was not built with have no version.
  return Object.entries(versions).flatMap(([name, version]) => {
    if (NO_PARTS.has(name) || version === undefined || version === '') return []
    const licence = LICENCES[name]
    if (licence === undefined) throw new Error(`the licence of Node's ${name} is not known`)
    return [{ name, version, licence, cpe: cpe(name, version) }]
  })
}

/** A CPE 2.3 name. NVD does not know Node's patches: V8 14.6.202.34-node.34 is 14.6.202.34 there. */
export function cpe(name: string, version: string): string | undefined {
  const product = CPE_PRODUCTS[name]
  const [released] = version.split('-')
  return product && `cpe:2.3:a:${product}:${released}:*:*:*:*:*:*:*`
}

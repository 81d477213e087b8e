import { readFileSync } from 'node:fs'
import { createRequire, stripTypeScriptTypes } from 'node:module'
import type { Plugin } from 'esbuild'

/**
 * Puts what the fuzzer goes by into sources: a counter at each edge, and a look at each comparison. jazzer.js
 * does it when files are loaded; done when they are bundled, the targets themselves stay as they are, so that
 * only what they try is counted, and a counter costs a tenth.
 */

/** What reads hostile bytes: our sources, and the parsers that they use. */
const COUNTED =
  /\/(?:src|native\/[\w-]+\/src|node_modules\/(?:pkijs|asn1js|pvutils|pvtsutils|bytestreamjs|toml-eslint-parser))\/.*\.[mc]?[jt]s$/

// Neither has types that can be named.
interface Babel {
  transformSync(code: string, options: object): { readonly code: string } | null
  readonly types: {
    callExpression(callee: object, args: readonly object[]): object
    identifier(name: string): object
    numericLiteral(value: number): object
  }
}
const require = createRequire(import.meta.url)
const babel: Babel = require('@babel/core')
const PLUGINS = '@jazzer.js/instrumentor/dist/plugins'
const { makeCoverageVisitor } = require(`${PLUGINS}/coverageVisitor.js`)
const { compareHooks } = require(`${PLUGINS}/compareHooks.js`)
const { setSeed } = require(`${PLUGINS}/helpers.js`)

/** What a bundle begins with: the fuzzer's counters, or nothing at all where there is no fuzzer. */
export const COUNTERS = `
const __map = globalThis.Fuzzer.coverageTracker.coverageMap
function __edge(id) {
  const count = __map[id]
  __map[id] = count === 255 ? 1 : count + 1
}`

/** @returns a plugin, and how many edges it has made room for so far */
export function instrumenting(): { plugin: Plugin; edges: () => number } {
  let edges = 0
  // The same sources are the same program.
  setSeed(1)
  const counter = () => {
    edges += 1
    const { callExpression, identifier, numericLiteral } = babel.types
    return callExpression(identifier('__edge'), [numericLiteral(edges - 1)])
  }
  const plugins = [() => ({ visitor: makeCoverageVisitor(counter) }), compareHooks]
  const plugin: Plugin = {
    name: 'instrument',
    setup(bundler) {
      bundler.onLoad({ filter: COUNTED }, ({ path }) => {
        const text = readFileSync(path, 'utf8')
        const code = path.endsWith('.ts') ? stripTypeScriptTypes(text) : text
        const options = {
          filename: path,
          plugins,
          babelrc: false,
          configFile: false,
          compact: false,
        }
        return { contents: babel.transformSync(code, options)?.code ?? code, loader: 'js' }
      })
    },
  }
  return { plugin, edges: () => edges }
}

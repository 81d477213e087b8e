/** The part of a node of Babel that is looked at here. */
interface Node {
  readonly type: string
  readonly name?: string
  readonly value?: string
  readonly callee?: Node
  readonly object?: Node
  readonly property?: Node
}
interface NodePath {
  readonly node: Node
  readonly parent: Node | null
  readonly listKey?: string | null
  readonly key?: string | number | null
}

/** From which argument on an error is told something that only people read. */
const TEXT_FROM: Readonly<Record<string, number>> = {
  Error: 0,
  RangeError: 0,
  TypeError: 0,
  UsageError: 0,
  MetabindError: 1,
  RateError: 1,
  VerifyError: 2,
}

const CODE = /^[A-Z][A-Z_]+$/
const REFUSING = /^(refuse|malformed|unknownBecause$)/

/**
 * Not mutated: the words of an error's detail and of a log line. People read them; the code beside them is what programs
 * and tests go by, and a test that held the words would only have to be changed with them.
 */
function shouldIgnore({ node, parent, listKey, key }: NodePath): string | undefined {
  if (node.type !== 'StringLiteral' && node.type !== 'TemplateLiteral') return undefined
  if (listKey !== 'arguments' || parent === null) return undefined
  // A code, even so: it is what tests go by.
  if (CODE.test(node.value ?? '')) return undefined
  return isText(parent, Number(key)) ? 'words for people' : undefined
}

function isText({ type, callee }: Node, at: number): boolean {
  if (type === 'NewExpression') return at >= (TEXT_FROM[callee?.name ?? ''] ?? Infinity)
  if (callee?.type === 'MemberExpression') return callee.object?.name === 'log'
  return REFUSING.test(callee?.name ?? '')
}

export const strykerPlugins = [{ kind: 'Ignore', name: 'texts', value: { shouldIgnore } }]

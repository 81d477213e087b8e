import type { Choices } from './choices.ts'

/** DER taken apart, so that one element can be changed and the lengths around it are right again. */
interface Element {
  tag: number
  content: Buffer
  children: Element[] | undefined
}

const CONSTRUCTED = 0x20
const OCTET_STRING = 0x04
const TAGS = [
  0x30, 0x31, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0c, 0x13, 0x17, 0x18, 0xa0, 0xa3, 0x80, 0x01, 0x1f,
] as const

/** @param der well-formed @returns the same with up to `editsMax` elements changed, well-formed but for rare ones */
export function alteredDer(der: Buffer, choices: Choices, editsMax = 3): Buffer {
  const root = read(der)
  for (let edits = 1 + choices.below(editsMax); edits > 0; edits -= 1) edit(root, choices)
  return write(root)
}

function read(bytes: Buffer): Element {
  const { tag, start, end } = head(bytes)
  const content = bytes.subarray(start, end)
  return {
    tag,
    content,
    children: (tag & CONSTRUCTED) !== 0 ? readAll(content) : within(tag, content),
  }
}

function readAll(bytes: Buffer): Element[] {
  const found: Element[] = []
  for (let rest = bytes; rest.length > 0; ) {
    const { end } = head(rest)
    found.push(read(rest.subarray(0, end)))
    rest = rest.subarray(end)
  }
  return found
}

/** What extensions hold is DER inside of an OCTET STRING. */
function within(tag: number, content: Buffer): Element[] | undefined {
  if (tag !== OCTET_STRING || content.length < 2 || ![0x30, 0x03, 0x04].includes(content[0] ?? 0))
    return undefined
  return head(content).end === content.length ? readAll(content) : undefined
}

function head(bytes: Buffer): { tag: number; start: number; end: number } {
  const [tag = 0, first = 0] = bytes
  const long = first < 0x80 ? 0 : first & 0x7f
  const length = long === 0 ? first : bytes.readUIntBE(2, long)
  return { tag, start: 2 + long, end: 2 + long + length }
}

function write({ tag, content, children }: Element): Buffer {
  const bytes = children === undefined ? content : Buffer.concat(children.map(write))
  if (bytes.length < 0x80) return Buffer.concat([Buffer.of(tag, bytes.length), bytes])
  const isShort = bytes.length < 0x100
  const length = isShort
    ? Buffer.of(0x81, bytes.length)
    : Buffer.of(0x82, bytes.length >> 8, bytes.length & 0xff)
  return Buffer.concat([Buffer.of(tag), length, bytes])
}

function edit(root: Element, choices: Choices): void {
  const all = everyElement(root)
  const pick = () => all[choices.below(all.length)] ?? root
  const [one, other] = [pick(), pick()]
  const kind = choices.below(8)
  if (kind === 0) one.tag = choices.isTrue() ? choices.pick(TAGS) : choices.byte()
  else if (kind === 1) {
    one.content = choices.bytes(32)
    one.children = undefined
  } else if (kind === 2) one.children?.splice(choices.below(8), 1)
  else if (kind === 3) one.children?.push(copyOf(other))
  else if (kind === 4) Object.assign(one, copyOf(other))
  else if (kind === 5) one.children?.reverse()
  else if (kind === 6) {
    one.content = Buffer.concat([one.content, choices.bytes(8)])
    if (one.children === undefined) return
    one.children.push({ tag: choices.pick(TAGS), content: choices.bytes(16), children: undefined })
  } else {
    const content = Buffer.from(one.content)
    const at = choices.below(256) % Math.max(1, content.length)
    if (content.length > 0) content[at] = (content[at] ?? 0) ^ (1 << choices.below(8))
    if (one.children === undefined) one.content = content
  }
}

/** A copy stands by itself, or an element could come to lie within itself. */
function copyOf(element: Element): Element {
  return { ...element, children: element.children?.map(copyOf) }
}

function everyElement(element: Element): Element[] {
  return [element, ...(element.children ?? []).flatMap(everyElement)]
}

import { readFileSync } from 'node:fs'

const FILE = new URL('../../systemd/metabindd.service', import.meta.url)

const MEBIBYTES = /^([1-9][0-9]*)M$/
const FLAG = /^--([a-z-]+)=([0-9]+)$/

/** What the unit gives the agent. */
export interface UnitLimits {
  readonly memoryBytesMax: number
  readonly descriptorsMax: number
  /** What it is started with in its environment. */
  readonly environment: Readonly<Record<string, string>>
  /** The flags of V8 that the agent is started with. */
  readonly v8Flags: readonly string[]
  /** What those let the heap grow to: its old space and the three parts of its new one. */
  readonly heapBytesMax: number
}

/** Reads the limits of the agent from its unit. */
export function unitLimits(): UnitLimits {
  const unit = readFileSync(FILE, 'utf8')
  const valueIn = (name: string) => new RegExp(`^${name}=(.+)$`, 'm').exec(unit)?.[1] ?? ''
  const [, mebibytes] = MEBIBYTES.exec(valueIn('MemoryMax')) ?? []
  const [, ...words] = valueIn('ExecStart').split(' ')
  const v8Flags = words.filter((word) => word.startsWith('--'))
  const flags = new Map(v8Flags.map((flag) => FLAG.exec(flag)?.slice(1) as [string, string]))
  const spaceMebibytes = (name: string) => Number(flags.get(name))
  const heapMebibytes =
    spaceMebibytes('max-old-space-size') + 3 * spaceMebibytes('max-semi-space-size')
  return {
    memoryBytesMax: Number(mebibytes) * 2 ** 20,
    descriptorsMax: Number(valueIn('LimitNOFILE')),
    environment: Object.fromEntries(
      [...unit.matchAll(/^Environment=(\w+)=(\S*)$/gm)].map(([, name, value]) => [name, value]),
    ),
    v8Flags,
    heapBytesMax: heapMebibytes * 2 ** 20,
  }
}

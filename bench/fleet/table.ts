import type { Phase } from './phase.ts'

export interface Size {
  /** The phase that had ended. */
  readonly after: string
  /** The file with its journal. */
  readonly databaseMib: number
  readonly residentMib: number
}

export interface Report {
  readonly node: string
  readonly machine: { readonly model: string; readonly cores: number; readonly loadBefore: number }
  readonly instances: number
  readonly evidenceBytes: number
  readonly phases: readonly Phase[]
  /** Of the registrar: before the first request, and the most of the process that ran last. */
  readonly memory: { readonly idleMib: number; readonly peakMib: number }
  readonly sizes: readonly Size[]
}

export function phaseTable(phases: readonly Phase[]): string {
  const head = ['', 'times', 's', 'a second', 'p50 ms', 'p99 ms', 'longest ms', 'CPU ms each']
  const rows = phases.map((phase) => [
    phase.name,
    String(phase.times),
    phase.seconds.toFixed(1),
    phase.perSecond.toFixed(0),
    phase.p50Ms.toFixed(0),
    phase.p99Ms.toFixed(0),
    phase.maxMs.toFixed(0),
    phase.registrarCpuMs.toFixed(2),
    phase.registrarBusy.toFixed(2),
    phase.generatorCpuMs.toFixed(2),
    phase.generatorBusy.toFixed(2),
    refusalsOf(phase),
  ])
  return tableOf([
    [...head, 'cores', 'asking: CPU ms each', 'cores', 'refused and asked again'],
    ...rows,
  ])
}

function refusalsOf({ refusals }: Phase): string {
  const all = Object.entries(refusals).map(([why, times]) => `${times} ${why}`)
  return all.length === 0 ? 'none' : all.join(', ')
}

export function sizeTable({
  sizes,
  memory,
  instances,
  evidenceBytes,
  machine,
  node,
}: Report): string {
  const rows = sizes.map(({ after, databaseMib, residentMib }) => [
    `after ${after}`,
    databaseMib.toFixed(1),
    residentMib.toFixed(0),
  ])
  const { model, cores, loadBefore } = machine
  return `${tableOf([['', 'database MiB', 'memory MiB'], ...rows])}
The registrar had ${memory.idleMib.toFixed(0)} MiB before the first request; the one that ran last, ${memory.peakMib.toFixed(0)} MiB at the most.
${instances} instances, evidence of ${evidenceBytes} bytes. Node ${node}, ${cores} cores of ${model}, load ${loadBefore.toFixed(2)} before.
`
}

/** In the form of Markdown. The first column is words, the others are numbers. */
function tableOf(rows: readonly (readonly string[])[]): string {
  const [head = [], ...body] = rows
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |\n`
  return (
    line(head) + line(head.map((_, at) => (at === 0 ? '---' : '---:'))) + body.map(line).join('')
  )
}

import { execFileSync } from 'node:child_process'
import { chmodSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { CLI } from '../harness/programs.ts'
import { faultsIn, judgeLevels, lateSources } from './judge.ts'
import { figuresOf, type Report, writePage } from './page.ts'
import { soak } from './run.ts'
import { type Seen, seenIn } from './samples.ts'

/**
 * `./dev soak [--hours N] [--judge FILE] [--json FILE] [--write]`: loads an agent for hours while everything happens to
 * it, and judges what was seen. Fails if an answer was wrong, or something rises.
 */

const WARM_UP_MS_MAX = 900_000
const PAUSE_MS = 25

const { values } = parseArgs({
  options: {
    hours: { type: 'string', default: '2' },
    collect: { type: 'boolean', default: false },
    segments: { type: 'string', default: '3' },
    judge: { type: 'string' },
    json: { type: 'string' },
    write: { type: 'boolean', default: false },
  },
})
const file = values.judge ?? (await run(Number(values.hours) * 3600))
const seen = seenIn(readFileSync(file, 'utf8'))
const report = reportOf(seen)
process.stdout.write(figuresOf(report))
for (const fault of report.faults) process.stdout.write(`${fault}\n`)
if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(report, null, 2)}\n`)
if (values.write) writePage(report, seen)
const isLevel = report.levels.every(({ verdict }) => verdict !== 'rises')
process.exitCode = isLevel && report.faults.length === 0 ? 0 : 1

async function run(seconds: number): Promise<string> {
  const directory = mkdtempSync('/tmp/metabind-soak-')
  // Other users run what is in it.
  chmodSync(directory, 0o755)
  const samples = join(directory, 'samples.jsonl')
  process.stdout.write(`samples are written to ${samples}\n`)
  const rig = join(directory, 'rig')
  await soak({
    ...{ directory: rig, samples, seconds, pauseMs: PAUSE_MS },
    ...{ segments: Number(values.segments), isCollected: values.collect },
  })
  return samples
}

function reportOf(all: Seen): Report {
  const { samples, events } = all
  const seconds = ((events.at(-1)?.at ?? 0) - (events[0]?.at ?? 0)) / 1000
  const count = (what: string) => events.filter((event) => event.what === what).length
  const audit = auditOf(all)
  const agents = [...Map.groupBy(samples, ({ pid }) => pid).values()]
  const cpu = agents.map((own) => own.findLast(({ process }) => process)?.process?.cpuSeconds ?? 0)
  return {
    seconds,
    requests: samples.reduce((sum, { requests }) => sum + requests, 0),
    agents: agents.length,
    events: {
      'token keys replaced (an epoch is a minute)': Math.floor(seconds / 60),
      'restarts by SIGTERM, upgrades among them': count('SIGTERM'),
      'upgrades to another version': count('upgrade'),
      'kills by SIGKILL': count('SIGKILL'),
      'revocations of all tokens': count('all revoked'),
      'policies reloaded': count('reload'),
      'audit files rotated': count('rotate'),
      'users that came for a moment': totalOf(samples, 'passing'),
      'refusals because the simulator was late': lateSources(all),
    },
    answers: answersIn(samples),
    audit: audit.sentence,
    faults: [...faultsIn(all), ...audit.faults],
    levels: judgeLevels(all, Math.min(WARM_UP_MS_MAX, (seconds * 1000) / 8)),
    cpuPercent: Math.round((cpu.reduce((sum, one) => sum + one, 0) / seconds) * 1000) / 10,
  }
}

function answersIn(samples: Seen['samples']): Record<string, Record<string, number>> {
  const answers: Record<string, Record<string, number>> = {}
  for (const { outcomes } of samples) {
    for (const [name, counts] of Object.entries(outcomes)) {
      const own = answers[name] ?? {}
      answers[name] = own
      for (const [what, count] of Object.entries(counts)) own[what] = (own[what] ?? 0) + count
    }
  }
  return answers
}

function totalOf(samples: Seen['samples'], name: string): number {
  return Object.values(answersIn(samples)[name] ?? {}).reduce((sum, count) => sum + count, 0)
}

function auditOf({ events }: Seen): { sentence: string; faults: string[] } {
  const files = events.findLast(({ what }) => what === 'end')?.audit
  if (!Array.isArray(files)) return { sentence: 'not looked at', faults: [] }
  try {
    const said = execFileSync(process.execPath, [CLI, 'audit', 'verify', ...files], {
      encoding: 'utf8',
      maxBuffer: 1 << 24,
    })
    return { sentence: said.split('\n')[0] ?? '', faults: [] }
  } catch (error) {
    return { sentence: 'broken', faults: [`audit: ${error}`] }
  }
}

import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ERRORS } from '../../src/error-table.ts'
import { ROUTES } from '../../src/relay/counters.ts'
import { VERSION } from '../../src/version.ts'
import { type Instance, startInstance } from '../harness/instance.ts'
import { scratchDirectory } from '../harness/scratch.ts'
import { get, openSession } from '../simulate/request.ts'

let scratch: Awaited<ReturnType<typeof scratchDirectory>>
let instance: Instance
let base: string
let before: string

const read = async () => (await get(`unix:${instance.adminSocket}`, '/metabind/v1/metrics')).body
const documentOf = (name: string) =>
  readFileSync(new URL(`../../docs/${name}`, import.meta.url), 'utf8')

/** The value of one sample, named as the exposition names it. */
function sampleOf(text: string, sample: string): number {
  const line = text.split('\n').find((one) => one.startsWith(`${sample} `))
  return Number(line?.slice(sample.length + 1) ?? Number.NaN)
}

beforeAll(async () => {
  scratch = await scratchDirectory()
  instance = await startInstance(scratch.path)
  base = `unix:${instance.metadataSocket}`
  before = await read()
})

afterAll(async () => {
  await instance?.stop()
  await scratch?.[Symbol.asyncDispose]()
})

describe('the metrics of a running agent', () => {
  test('count requests by what was asked and answered', async () => {
    const token = await openSession(base)
    await get(base, '/latest/meta-data/instance-id', token)
    await get(base, '/latest/meta-data/instance-id', 'no token')
    await get(base, '/latest/meta-data/instance-id')
    await get(base, '/metabind/v1/whoami', token)
    await get(base, '/latest/%2e%2e/x', token)
    const now = await read()
    const samples = {
      'route="token",code="OK"': 1,
      'route="metadata",code="OK"': 1,
      'route="metadata",code="TOKEN_MALFORMED"': 1,
      'route="metadata",code="TOKEN_MISSING"': 1,
      'route="own",code="OK"': 1,
      'route="none",code="REQUEST_PATH"': 1,
    }
    const found = Object.keys(samples).map((labels) => [
      labels,
      sampleOf(now, `metabind_requests_total{${labels}}`),
    ])
    expect(Object.fromEntries(found)).toEqual(samples)
    expect(sampleOf(now, 'metabind_tokens_issued_total')).toBe(1)
    expect(sampleOf(before, 'metabind_tokens_issued_total')).toBe(0)
  })

  test('begin at 0 for each code that a caller can be answered with', () => {
    const codes = [
      'OK',
      'TOKEN_FOREIGN',
      'POLICY_DENIED',
      'CALLER_UNKNOWN',
      'LIMIT_RATE',
      'INTERNAL',
    ]
    for (const code of codes) {
      const counts = ROUTES.map((route) =>
        sampleOf(before, `metabind_requests_total{route="${route}",code="${code}"}`),
      )
      expect([code, counts]).toEqual([code, [0, 0, 0, 0]])
    }
    expect(before).not.toContain('code="VERIFY_')
    expect(sampleOf(before, 'metabind_upstream_seconds_count{outcome="SOURCE_DOWN"}')).toBe(0)
  })

  test('say how late the event loop ran, the same to everybody who reads', async () => {
    const count = (text: string) => sampleOf(text, 'metabind_event_loop_delay_seconds_count')
    const first = count(await read())
    expect(count(await read())).toBeGreaterThanOrEqual(first)
    expect(before).toContain('# TYPE metabind_event_loop_delay_seconds histogram')
  })

  test('say what runs, that it is ready, and how the TPM and the cloud answer', () => {
    const build = `metabind_build_info{version="${VERSION}",node="${process.version}"}`
    expect(sampleOf(before, build)).toBe(1)
    expect(sampleOf(before, 'metabind_ready')).toBe(1)
    expect(sampleOf(before, 'metabind_epochs_held')).toBeGreaterThanOrEqual(2)
    expect(sampleOf(before, 'metabind_tpm_command_seconds_count{command="hmac"}')).toBeGreaterThan(
      0,
    )
    // The instance id, and the identity document of the self-test.
    expect(sampleOf(before, 'metabind_upstream_seconds_count{outcome="ok"}')).toBe(2)
  })

  test('carry nothing of a caller in their labels, whatever callers send', async () => {
    const token = await openSession(base)
    for (const path of ['/planted-path', '/latest/planted-path', '/%zzplanted']) {
      await get(base, path, token)
      await get(base, path, 'planted-token')
    }
    const now = await read()
    expect(now).not.toContain('planted')
    const known = /^(version|node|route|code|state|kind|command|outcome|le)$/
    for (const [, name = '', value = ''] of now.matchAll(/[{,](\w+)="([^"]*)"/g)) {
      expect(name).toMatch(known)
      if (name === 'code') expect(['OK', ...Object.keys(ERRORS)]).toContain(value)
    }
  })
})

describe('the documents', () => {
  const namesIn = (text: string) => new Set(text.match(/\bmetabind_[a-z_]+/g))

  test('docs/metrics.md lists every metric, and none that there is not', () => {
    const exposed = new Set([...before.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name))
    expect(namesIn(documentOf('metrics.md'))).toEqual(exposed)
  })

  test('the alert rules ask only for metrics that there are', () => {
    const exposed = new Set([...before.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name))
    const names = [...namesIn(documentOf('prometheus-alerts.yml'))]
    expect(names.length).toBeGreaterThan(4)
    for (const name of names) expect(exposed).toContain(name.replace(/_count$/, ''))
  })

  test('the Grafana dashboard is JSON and asks only for metrics that there are', () => {
    const text = documentOf('grafana-dashboard.json')
    const dashboard: { panels: { targets: { expr: string }[] }[] } = JSON.parse(text)
    const asked = dashboard.panels.flatMap(({ targets }) => targets.map(({ expr }) => expr))
    expect(asked.length).toBeGreaterThan(10)
    const exposed = new Set([...before.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name))
    for (const expression of asked) {
      const names = [...namesIn(expression)].map((name) => name.replace(/_(bucket|sum|count)$/, ''))
      expect(names).not.toEqual([])
      for (const name of names) expect(exposed).toContain(name)
    }
  })
})

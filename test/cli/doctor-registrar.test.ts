import { cpSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { registrarFindings } from '../../src/cli/doctor-agent.ts'
import { sandboxFindings } from '../../src/cli/doctor-registrar.ts'
import { installedSandbox } from '../../src/cli/unit-sandbox.ts'
import { parseConfig } from '../../src/config.ts'
import { scratchDirectory } from '../harness/scratch.ts'

const NEXT = '2026-11-29T12:00:00.000Z'
const standing = { url: 'https://registrar.example', state: 'enrolled', next: NEXT }
const problem = { code: 'FEDERATION_DOWN', sentence: 'It gives no answer.', remedy: 'Try again.' }

test('metabind doctor says nothing of a registrar that there is none of, or that answers', () => {
  expect(registrarFindings(undefined)).toEqual([])
  expect(registrarFindings(standing)).toEqual([])
})

test('metabind doctor says that the registrar is away, also while the enrolment lasts', () => {
  const [found] = registrarFindings({ ...standing, problem })
  expect(found).toMatchObject({ id: 'registrar-away', weight: 'broken', remedy: 'Try again.' })
  expect(found?.says).toContain('https://registrar.example')
})

test.each([
  ['held', undefined, 'metabind-registrar approve'],
  ['waiting', undefined, NEXT],
  ['refused', problem, 'Try again.'],
])(
  'metabind doctor says what a registrar wants of an instance that is %s',
  (state, why, remedy) => {
    const found = registrarFindings({ ...standing, state, problem: why })
    expect(found).toMatchObject([{ id: 'registrar-not-enrolled', weight: 'broken' }])
    expect(found[0]?.remedy).toContain(remedy)
  },
)

describe('the sandbox of the shipped unit', () => {
  const SYSTEMD = fileURLToPath(new URL('../../systemd/', import.meta.url))
  const DROP_INS = 'etc/systemd/system/metabindd.service.d'
  const stack = new AsyncDisposableStack()
  let root: string
  beforeAll(async () => {
    root = stack.use(await scratchDirectory()).path
    for (const folder of ['usr/lib/systemd/system', DROP_INS]) {
      mkdirSync(join(root, folder), { recursive: true })
    }
    cpSync(
      join(SYSTEMD, 'metabindd.service'),
      join(root, 'usr/lib/systemd/system/metabindd.service'),
    )
  })
  afterAll(() => stack.disposeAsync())

  /** @param dropIn beside it; undefined: none */
  function found(registrar: string, dropIn = ''): string[] {
    writeFileSync(join(root, DROP_INS, 'registrar.conf'), dropIn)
    const sandbox = installedSandbox(root)
    if (sandbox === undefined) throw new Error('no unit')
    const text = registrar === '' ? '' : `[registrar]\n${registrar}`
    return sandboxFindings(parseConfig([{ file: 'f', text }]), sandbox).map(({ says }) => says)
  }
  const url = 'url = "https://registrar.example"\n'
  const at = (address: string) => `${url}address = "${address}"\n`
  const allow = (addresses: string) => `[Service]\nIPAddressAllow=${addresses}\n`

  test('is nobody’s concern without a registrar', () => {
    expect(found('')).toEqual([])
  })

  test.each([
    ['a name', url, ''],
    ['a name, and the service of another cloud', url, allow('169.254.169.254')],
    ['an address', at('192.0.2.10:9190'), ''],
    ['another address than is let through', at('192.0.2.11'), allow('192.0.2.10')],
    ['an address of IPv6, which is no family of it', at('[2001:db8::1]'), allow('2001:db8::1')],
  ])('keeps the agent from it: %s', (_what, registrar, dropIn) => {
    const [says = ''] = found(registrar, dropIn)
    expect(says).toMatch(/keeps it from https:\/\/registrar\.example: /)
  })

  test.each([
    ['a name, and some address', url, allow('192.0.2.10')],
    ['its address', at('192.0.2.10'), allow('192.0.2.10')],
    ['its network', at('192.0.2.10:9190'), allow('10.0.0.0/8 192.0.2.0/24')],
    ['this machine', at('127.0.0.1:9190'), allow('localhost')],
    ['all', at('192.0.2.10'), allow('any')],
    [
      'IPv6',
      at('[2001:db8::1]:9190'),
      `${allow('2001:db8::/32')}RestrictAddressFamilies=AF_INET6\n`,
    ],
    ['no filter', at('192.0.2.10'), '[Service]\nIPAddressDeny=\n'],
  ])('lets it through: %s', (_what, registrar, dropIn) => {
    expect(found(registrar, dropIn)).toEqual([])
  })
})

import { expect, test } from 'vitest'
import { parseRegistrarConfig } from '../../src/registrar/registrar-config.ts'

const parse = (text: string) => parseRegistrarConfig([{ file: 'r.toml', text }])

test('a URL is all that must be said, and nobody is admitted on the strength of it', () => {
  const config = parse('url = "https://registrar.example"')
  expect(config.admission).toMatchObject({
    anchored: 'admit',
    unanchored: 'refuse',
    instance_id: 'proven',
  })
  expect(config.trust).toMatchObject({ aliyun: false, ek_pins: [] })
  expect(config.listen.address).toBe('127.0.0.1')
})

test('a token of PKCS #11 is where new keys are made, unless it is on its way out', () => {
  const keys = '[keys.pkcs11]\nmodule = "/m.so"\ntoken = "registrar keys"\npin = "/run/pin"\n'
  const parsed = (more: string) => parse(`url = "https://a.example"\n${keys}${more}`).keys.pkcs11
  expect(parsed('')).toEqual({
    ...{ module: '/m.so', token: 'registrar keys', pin: '/run/pin', new_keys: 'token' },
  })
  expect(parsed('new_keys = "database"')?.new_keys).toBe('database')
  expect(parse('url = "https://a.example"').keys.pkcs11).toBeUndefined()
})

test.each([
  ['', 'r.toml:1: url: is missing: must be'],
  ['url = "http://registrar.example"', 'r.toml:1: url: must be https://'],
  ['url = "https://registrar.example/"', 'r.toml:1: url: must be https://'],
  ['url = "https://Registrar.example"', 'r.toml:1: url: must be https://'],
  ['url = "https://a.example?x"', 'r.toml:1: url: must be https://'],
  ['url = "https://a.example"\nmore = 1', 'r.toml:2: more: unknown key'],
  ['url = "https://a.example"\n[admission]\nanchored = "refuse"', 'r.toml:3: admission.anchored'],
  [
    'url = "https://a.example"\n[limits]\npending = 0',
    'r.toml:3: limits.pending: must be at least 1',
  ],
  [
    'url = "https://a.example"\n[keys.pkcs11]\nmodule = "softhsm.so"\ntoken = "t"\npin = "/p"',
    'r.toml:3: keys.pkcs11.module: must be an absolute path',
  ],
  ['url = "https://a.example"\n[keys.pkcs11]\nmodule = "/m"\ntoken = "t"', 'keys.pkcs11.pin'],
  [
    `url = "https://a.example"\n[keys.pkcs11]\nmodule = "/m"\npin = "/p"\ntoken = "${'é'.repeat(17)}"`,
    'r.toml:5: keys.pkcs11.token: must be 1 to 32 bytes',
  ],
  ['url = "https://a.example"\n[listen]\naddress = "localhost"', 'r.toml:3: listen.address'],
])('%j is refused with its line', (text, message) => {
  expect(() => parse(text)).toThrow(message)
})

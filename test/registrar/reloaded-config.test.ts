import { expect, test } from 'vitest'
import { parseRegistrarConfig } from '../../src/registrar/registrar-config.ts'
import { reloadedConfig } from '../../src/registrar/reloaded-config.ts'

const parse = (text: string) =>
  parseRegistrarConfig([{ file: 'r.toml', text: `url = "https://registrar.example"\n${text}` }])

test('what a running registrar can take over is taken over', () => {
  const read = parse(
    '[admission]\nanchored = "hold"\n[[audience]]\nname = "a"\n[limits]\npending = 7\n[trust]\naliyun = true\n[log]\nlevel = "debug"\n',
  )
  expect(reloadedConfig(parse(''), read)).toEqual({ config: read, kept: [] })
})

test('the rest stays as it was started, and is named', () => {
  const started = parse('')
  const read = parse(
    '[listen]\nport = 1\n[storage]\ndatabase = "/a"\n[keys]\nrotate_days = 1\n[publish]\ndirectory = "/b"\n[limits]\nconnections = 1\n',
  )
  expect(reloadedConfig(started, { ...read, url: 'https://other.example' })).toEqual({
    config: started,
    kept: ['url', 'listen', 'storage', 'keys', 'publish', 'limits.connections'],
  })
})

test('audiences stay with the trust domain that their formats need', () => {
  const started = parse('')
  const read = parse(
    '[spiffe]\ntrust_domain = "example.org"\n[[audience]]\nname = "a"\nformats = ["jwt_svid"]\n',
  )
  expect(reloadedConfig(started, read)).toEqual({ config: started, kept: ['audience', 'spiffe'] })
})

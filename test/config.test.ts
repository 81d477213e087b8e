import { execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { parseConfig, readConfig } from '../src/config.ts'

const of = (...texts: string[]) =>
  parseConfig(texts.map((text, at) => ({ file: `${at + 1}.toml`, text })))

/** What is wrong, as the person who wrote the file is told. */
function detailOf(...texts: string[]): string {
  try {
    of(...texts)
  } catch (error) {
    expect(error).toMatchObject({ code: 'CONFIG_INVALID' })
    return (error as { detail?: string }).detail ?? ''
  }
  throw new Error('it is valid')
}

describe('several files', () => {
  test('are merged key by key, the later one wins, lists are replaced', () => {
    const config = of(
      '[token]\nbind = ["uid"]\nmax_ttl_seconds = 60\n[log]\nlevel = "warn"\n',
      'token.bind = []\n',
      '[log]\nlevel = "debug"\n',
    )
    expect(config.token).toEqual({ bind: [], max_ttl_seconds: 60 })
    expect(config.log).toEqual({ level: 'debug' })
  })

  test('the one is named that has the mistake', () => {
    const good = '[token]\nmax_ttl_seconds = 60\n'
    expect(detailOf('[tpm]\nx = 1\n', good)).toBe('1.toml:2: tpm.x: unknown key.')
    expect(detailOf(good, '[tpm]\nx = 1\n')).toBe('2.toml:2: tpm.x: unknown key.')
    expect(detailOf('\n\nx = 1\n', good)).toBe('1.toml:3: x: unknown key.')
  })

  test('also where it is an element of a list, which has no line of its own', () => {
    const bad = '[token]\n\nbind = ["gid"]\n'
    expect(detailOf(bad, '[log]\nlevel = "info"\n')).toMatch(/^1\.toml:3: token\.bind\.0: /)
    expect(detailOf('[log]\nlevel = "info"\n', bad)).toMatch(/^2\.toml:3: token\.bind\.0: /)
  })

  test('a later file may put a mistake right', () => {
    expect(of('[log]\nlevel = "loud"\n', '[log]\nlevel = "info"\n').log.level).toBe('info')
  })
})

describe('values out of their bounds are refused with their line', () => {
  test.each([
    ...[
      ['tpm.tcti', '""'],
      ['tpm.tcti', '"/dev/tpmrm0"'],
      ['tpm.tcti', '"swtpm:"'],
      ['tpm.tcti', '"device:/dev/tpm0 x"'],
      ['tpm.tcti', '5'],
      ['tpm.command_timeout_ms', '0'],
      ['tpm.command_timeout_ms', '120001'],
      ['tpm.recheck_seconds', '0'],
      ['tpm.recheck_seconds', '3601'],
      ['tpm.recheck_seconds', '1.5'],
      ['source.dialect', '"ec3"'],
      ['source.endpoint', '""'],
      ['source.endpoint', '"100.100.100.200"'],
      ['source.endpoint', '"https://100.100.100.200"'],
      ['source.endpoint', '"http://user:word@100.100.100.200"'],
      ['source.endpoint', '"http://100.100.100.200/latest"'],
      ['source.endpoint', '"http://100.100.100.200?x"'],
      ['source.timeout_ms', '60001'],
      ['source.answer_bytes_max', '1023'],
      ['token.bind', '["unit"]'],
      ['token.bind', '["uid", "uid"]'],
      ['token.bind', '"uid"'],
      ['token.max_ttl_seconds', '0'],
      ['token.max_ttl_seconds', '21601'],
      ['token.max_ttl_seconds', '"60"'],
      ['listen.metadata_socket', '"relative.sock"'],
      ['listen.metadata_socket', `"/${'a'.repeat(107)}"`],
      ['listen.admin_mode', '0o660'],
      ['listen.admin_mode', '"660"'],
      ['listen.admin_mode', '"0888"'],
      ['directories.runtime', '"run"'],
      ['limits.connections', '0'],
      ['limits.connections', '65537'],
      ['limits.body_bytes_max', '0'],
      ['limits.header_bytes_max', '100'],
      ['audit.journal', 'false'],
      ['log.level', '"trace"'],
    ],
  ])('%s = %s', (key, value) => {
    const detail = detailOf(`# a comment\n\n${key} = ${value}\n`)
    expect(detail).toMatch(new RegExp(`^1\\.toml:3: ${key?.replace('.', '\\.')}(\\.\\d+)?: .+\\.$`))
  })

  test.each(['tpm', 'source', 'token', 'listen', 'directories', 'limits', 'log'])(
    'an unknown key in %s',
    (section) => {
      expect(detailOf(`[${section}]\n\nno_such = 1\n`)).toBe(
        `1.toml:3: ${section}.no_such: unknown key.`,
      )
    },
  )

  test('a section that is none', () => {
    expect(detailOf('[polcy]\nmode = "audit"\n')).toBe('1.toml:1: polcy: unknown key.')
    expect(detailOf('tpm = 5\n')).toMatch(/^1\.toml:1: tpm: /)
    expect(detailOf('[[log]]\n')).toMatch(/^1\.toml:1: log: /)
  })
})

test.each([
  ['tpm.tcti = "tabrmd"', 'tabrmd'],
  ['tpm.tcti = "device:/dev/tpm0"', 'device:/dev/tpm0'],
  ['tpm.tcti = "swtpm:path=/tmp/s"', 'swtpm:path=/tmp/s'],
])('%s is a TPM', (text, tcti) => {
  expect(of(text).tpm.tcti).toBe(tcti)
})

test('a socket path of 107 bytes is the longest', () => {
  const path = `/${'a'.repeat(106)}`
  expect(of(`listen.metadata_socket = "${path}"`).listen.metadata_socket).toBe(path)
  expect(detailOf(`listen.metadata_socket = "/${'é'.repeat(54)}"`)).toContain('at most 107 bytes')
})

describe('a configuration file', () => {
  test.each([
    ['a file', 'f.toml', (text: string, path: string) => writeFileSync(path, text)],
    [
      'a pipe that gives it piece by piece',
      'f.fifo',
      (text: string, path: string) => {
        execFileSync('mkfifo', [path])
        spawn('sh', ['-c', 'for part in "$@"; do printf %s "$part"; done >"$0"', path, ...text])
      },
    ],
  ])('is read from %s, past a byte order mark', (_what, name, put) => {
    const directory = mkdtempSync('/tmp/config-')
    onTestFinished(() => rmSync(directory, { recursive: true }))
    const file = join(directory, name)
    put('\uFEFFtoken.max_ttl_seconds = 60\n', file)
    expect(readConfig([file]).token.max_ttl_seconds).toBe(60)
  })

  test('that does not end is not read to its end', () => {
    expect(() => readConfig(['/dev/zero'])).toThrow(
      expect.objectContaining({
        code: 'CONFIG_INVALID',
        detail: '/dev/zero: longer than 262144 bytes.',
      }),
    )
  })
})

/**
 * A user has root's commands, or the agent, start with settings for Node and OpenSSL in their environment: by a file
 * that a shell reads, or by sudo that keeps it. They name a script and a configuration of the user's.
 */
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, inject, test } from 'vitest'
import { ATTACKER, whileServed } from '../harness/attack.ts'
import { placeOf } from '../harness/attacker-place.ts'
import { runMetabind, runProgram } from '../harness/packaged-command.ts'

test('nothing of theirs runs or is written, and the command that is run keeps its own', async () => {
  const { metadataSocket, adminSocket } = inject('target')
  const place = await placeOf(ATTACKER, 0o777)
  const at = (name: string) => join(place, name)
  writeFileSync(at('own.cjs'), `require('node:fs').writeFileSync(${JSON.stringify(at('ran'))}, '')`)
  writeFileSync(
    at('openssl.cnf'),
    `openssl_conf = x\n[x]\nproviders = p\n[p]\nnone = n\n[n]\nmodule = ${at('own.so')}\nactivate = 1\n`,
  )
  const env = {
    NODE_OPTIONS: `--require=${at('own.cjs')}`,
    NODE_PATH: place,
    NODE_V8_COVERAGE: at('coverage'),
    NODE_COMPILE_CACHE: at('cache'),
    NODE_REDIRECT_WARNINGS: at('warnings'),
    NODE_EXTRA_CA_CERTS: at('own.cjs'),
    OPENSSL_CONF: at('openssl.cnf'),
    OPENSSL_MODULES: place,
    SSL_CERT_FILE: at('own.cjs'),
  }
  const sockets = { metadataSocket, adminSocket }
  await whileServed(metadataSocket, async () => {
    expect(await runMetabind(sockets, ['status'], { env })).toMatchObject({ code: 0, stderr: '' })
    const ran = await runMetabind(sockets, ['exec', 'printenv', 'NODE_OPTIONS'], { env })
    expect(ran).toEqual({ code: 0, stdout: `${env.NODE_OPTIONS}\n`, stderr: '' })
    const daemon = await runProgram([join(inject('library'), 'metabindd'), '--version'], { env })
    expect(daemon).toMatchObject({ code: 0, stderr: '' })
  })
  for (const name of ['ran', 'coverage', 'cache', 'warnings'])
    expect(existsSync(at(name))).toBe(false)
})

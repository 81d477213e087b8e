/**
 * Somebody has a copy of the registrar's database, as from a backup, without its master key: looks for private keys in it,
 * and runs a registrar on it, to issue tokens in its name.
 */
import { createPrivateKey } from 'node:crypto'
import { copyFile, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { expect, onTestFinished, test } from 'vitest'
import { startRegistrarProcess } from '../fleet/registrar-process.ts'
import { enrolledBy, freshEvidence, unknownInstance } from '../fleet/software-instance.ts'
import { scratch } from '../harness/metabind.ts'

const RULES = '[admission]\nunanchored = "admit"\ninstance_id = "word"\n'

test('nothing in it is a key, and no other registrar goes on with it', async () => {
  const directory = await scratch()
  onTestFinished(() => directory[Symbol.asyncDispose]())
  const own = join(directory.path, 'registrar')
  const registrar = await startRegistrarProcess(own, RULES)
  onTestFinished(() => registrar.end())
  const instance = unknownInstance('i-one')
  await enrolledBy(registrar, await freshEvidence(instance, registrar), instance)
  await registrar.end()

  const stolen = join(directory.path, 'stolen')
  await mkdir(stolen)
  await copyFile(registrar.database, join(stolen, 'registrar.db'))
  const database = new DatabaseSync(join(stolen, 'registrar.db'), { readOnly: true })
  const tables = database.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").all()
  const values = tables.flatMap(({ name }) =>
    database.prepare(`SELECT * FROM ${name}`).all().flatMap(Object.values),
  )
  database.close()
  const blobs = values.filter((value) => value instanceof Uint8Array)
  expect(blobs.length).toBeGreaterThan(1)
  for (const blob of blobs) {
    const key = () => createPrivateKey({ key: Buffer.from(blob), format: 'der', type: 'pkcs8' })
    expect(key).toThrow()
  }
  expect(JSON.stringify(values)).not.toMatch(/PRIVATE KEY|"d":/)
  await expect(startRegistrarProcess(stolen, RULES)).rejects.toThrow('REGISTRAR_DATABASE')
})

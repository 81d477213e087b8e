import { createHash, createPrivateKey } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { createSigner } from '../../src/simulate/signer.ts'
import type { SoftwareBoot, SoftwareInstance } from '../../test/fleet/software-instance.ts'
import { type Issuer, makeAuthority, makeEkCertificate } from '../../test/harness/certificate.ts'
import { makeEventLog, measured } from '../../test/harness/event-log.ts'
import {
  newSoftwareSeeds,
  type SoftwareSeeds,
  softwareTpm,
  spkiOfSoftwareKey,
} from '../../test/harness/software-tpm.ts'

/** Instances whose keys and certificates were made before anything is measured, and are kept for the next time. */

export interface Fleet {
  readonly instances: readonly SoftwareInstance[]
  /** `[trust]` of a registrar that vouches for them. @param directory for the files that it names */
  trust(directory: string): string
}

interface KeptFleet {
  readonly authority: { readonly der: string; readonly key: string }
  readonly instances: readonly { readonly seeds: SoftwareSeeds; readonly certificate: string }[]
}

const AUTHORITY = 'Fleet EK Authority'

/** @param file of keys that were made before, which is made if it has too few of them */
export async function prepareFleet(file: string, count: number): Promise<Fleet> {
  const { authority, instances } = keptFleet(file, count)
  const signer = await createSigner()
  const boot = loggedBoot()
  const document = (audience: string, instanceId: string) =>
    signer.signPkcs7(
      JSON.stringify({ 'zone-id': 'cn-hangzhou-i', 'instance-id': instanceId, audience }),
    )
  return {
    instances: instances.slice(0, count).map(({ seeds, certificate }, number) => ({
      ...{ instanceId: instanceIdOf(number), document, boot },
      tpm: softwareTpm(seeds),
      certificates: [certificate],
    })),
    trust: (directory) => {
      const anchors = join(directory, 'anchors')
      const identity = join(directory, 'cloud.pem')
      mkdirSync(anchors, { recursive: true })
      writeFileSync(join(anchors, 'authority.der'), Buffer.from(authority.der, 'base64'))
      writeFileSync(identity, signer.certificatePem)
      return `[trust]\nek_anchors = "${anchors}"\nidentity_certificate = "${identity}"\n`
    },
  }
}

function keptFleet(file: string, count: number): KeptFleet {
  const kept = existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as KeptFleet) : undefined
  if (kept !== undefined && kept.instances.length >= count) return kept
  const issuer = kept === undefined ? makeAuthority(AUTHORITY) : issuerOf(kept)
  const before = kept?.instances ?? []
  const made = Array.from({ length: count - before.length }, (_, at) =>
    newInstance(issuer, instanceIdOf(before.length + at)),
  )
  const key = issuer.key.export({ type: 'pkcs8', format: 'der' }).toString('base64')
  const authority = { der: issuer.der.toString('base64'), key }
  const fleet = { authority, instances: [...before, ...made] }
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(`${file}.new`, JSON.stringify(fleet))
  renameSync(`${file}.new`, file)
  return fleet
}

function issuerOf({ authority }: KeptFleet): Issuer {
  const der = Buffer.from(authority.key, 'base64')
  const key = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
  return { der: Buffer.from(authority.der, 'base64'), name: AUTHORITY, key }
}

function newInstance(issuer: Issuer, instanceId: string): KeptFleet['instances'][number] {
  const seeds = newSoftwareSeeds()
  const publicKey = spkiOfSoftwareKey(seeds.ek)
  const certificate = makeEkCertificate(issuer, publicKey, { subject: instanceId })
  return { seeds, certificate: certificate.toString('base64') }
}

function instanceIdOf(number: number): string {
  return `i-fleet${String(number).padStart(8, '0')}`
}

const EVENTS = 100
const EVENT_BYTES = 160
const PCRS = 10

/** As many events, and as long ones, as the firmware and the boot loader of a virtual machine log. */
function loggedBoot(): SoftwareBoot {
  const events = Array.from({ length: EVENTS }, (_, at) => ({
    pcr: at % PCRS,
    type: 0x0d,
    data: Buffer.alloc(EVENT_BYTES, `event ${at} `),
  }))
  const pcrs: Record<string, Buffer> = {}
  for (const event of events) {
    const before = pcrs[event.pcr] ?? Buffer.alloc(32)
    pcrs[event.pcr] = createHash('sha256').update(before).update(measured(event)).digest()
  }
  return { pcrs, eventLog: makeEventLog(events).toString('base64') }
}

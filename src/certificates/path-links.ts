import type { Certificate } from './certificate.ts'

/** Each certificate of a path with its issuer. @param path leaf first, anchor last */
export function linksOf(path: readonly Certificate[]): (readonly [Certificate, Certificate])[] {
  return path.flatMap((issuer, at) => {
    const certificate = path[at - 1]
    return certificate === undefined ? [] : [[certificate, issuer] as const]
  })
}

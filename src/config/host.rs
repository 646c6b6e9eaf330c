//! What a stage's host tells: the region and the service that requests to it are signed for.
//!
//! The table is AWS's naming of its endpoints: API Gateway's and Lambda's developer guides, and for the suffixes the
//! partitions that the SDKs ship. A custom domain tells nothing, so its region must be given.

/// What a host's name says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Told {
    /// An endpoint of the table.
    Service {
        /// The service in the credential scope.
        service: &'static str,
        /// The region in the credential scope; an emulator's host has none.
        region: Option<String>,
    },
    /// An AWS name that the table does not hold.
    OtherAws,
    /// A custom domain, an address, `localhost`.
    Nothing,
}

/// The suffixes of AWS's partitions, in the order in which they must be tried: one may end with another.
const SUFFIXES: [&str; 9] = [
    "amazonaws.com.cn", // aws-cn
    "amazonaws.com",    // aws, aws-us-gov
    "amazonaws.eu",     // aws-eusc
    "sc2s.sgov.gov",    // aws-iso-b
    "c2s.ic.gov",       // aws-iso
    "cloud.adc-e.uk",   // aws-iso-e
    "csp.hci.ic.gov",   // aws-iso-f
    "on.aws",           // Lambda function URLs
    "api.aws",          // dual-stack endpoints
];

/// Reads a lower-case host.
pub(super) fn told_by(host: &str) -> Told {
    if host.ends_with(".execute-api.localhost") {
        return Told::Service { service: "execute-api", region: None };
    }
    let Some(rest) = SUFFIXES.iter().find_map(|suffix| host.strip_suffix(suffix)?.strip_suffix('.')) else {
        return Told::Nothing;
    };
    let labels: Vec<&str> = rest.split('.').collect();
    let (service, region) = match labels[..] {
        // `ID`, `ID-vpce-X` and `d-X` (a custom domain's target) alike; the second is an interface endpoint's own name.
        [_, "execute-api", region] => ("execute-api", region),
        [vpce, "execute-api", region, "vpce"] if vpce.starts_with("vpce-") => ("execute-api", region),
        ["execute-api" | "execute-api-fips", region] => ("execute-api", region),
        [_, "lambda-url", region] => ("lambda", region),
        [_, "appsync-api", region] => ("appsync", region),
        [_, region, "es"] => ("es", region),
        [_, region, "aoss"] => ("aoss", region),
        ["bedrock-runtime" | "bedrock-runtime-fips", region] => ("bedrock", region),
        // A bucket's name may hold dots, so the service is looked for from the end.
        [.., "s3" | "s3-fips", "dualstack", region] | [.., "s3" | "s3-fips", region] => ("s3", region),
        [.., "s3"] => return Told::Service { service: "s3", region: None },
        _ => return Told::OtherAws,
    };
    if !is_region(region) {
        return Told::OtherAws;
    }
    Told::Service { service, region: Some(region.to_owned()) }
}

/// Whether a text has the shape of a region's name: words and a number, joined by hyphens, as `us-gov-west-1`.
pub(super) fn is_region(text: &str) -> bool {
    let words: Vec<&str> = text.split('-').collect();
    let [names @ .., number] = words.as_slice() else { return false };
    names.len() >= 2
        && names.iter().all(|name| !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase()))
        && !number.is_empty()
        && number.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_row_by_row() {
        for (host, service, region) in [
            ("abc123.execute-api.us-west-2.amazonaws.com", "execute-api", "us-west-2"),
            ("abc123-vpce-0f1e.execute-api.eu-central-1.amazonaws.com", "execute-api", "eu-central-1"),
            ("vpce-0f1e-ab12.execute-api.us-east-1.vpce.amazonaws.com", "execute-api", "us-east-1"),
            (
                "vpce-0f1e-ab12-us-east-1a.execute-api.us-east-1.vpce.amazonaws.com",
                "execute-api",
                "us-east-1",
            ),
            ("d-abcdef.execute-api.ap-south-1.amazonaws.com", "execute-api", "ap-south-1"),
            ("execute-api.us-east-2.amazonaws.com", "execute-api", "us-east-2"),
            ("execute-api-fips.us-east-2.amazonaws.com", "execute-api", "us-east-2"),
            ("execute-api.us-east-2.api.aws", "execute-api", "us-east-2"),
            ("execute-api-fips.us-east-2.api.aws", "execute-api", "us-east-2"),
            ("abc123.execute-api.us-gov-west-1.amazonaws.com", "execute-api", "us-gov-west-1"),
            ("abc123.execute-api.cn-north-1.amazonaws.com.cn", "execute-api", "cn-north-1"),
            ("vpce-1-2.execute-api.cn-north-1.vpce.amazonaws.com.cn", "execute-api", "cn-north-1"),
            ("abc123.execute-api.eusc-de-east-1.amazonaws.eu", "execute-api", "eusc-de-east-1"),
            ("abc123.execute-api.us-iso-east-1.c2s.ic.gov", "execute-api", "us-iso-east-1"),
            ("abc123.execute-api.us-isob-east-1.sc2s.sgov.gov", "execute-api", "us-isob-east-1"),
            ("abc123.execute-api.eu-isoe-west-1.cloud.adc-e.uk", "execute-api", "eu-isoe-west-1"),
            ("abc123.execute-api.us-isof-south-1.csp.hci.ic.gov", "execute-api", "us-isof-south-1"),
            ("abc123.lambda-url.us-west-2.on.aws", "lambda", "us-west-2"),
            ("abc123.appsync-api.us-west-2.amazonaws.com", "appsync", "us-west-2"),
            ("search-logs-abc.us-west-2.es.amazonaws.com", "es", "us-west-2"),
            ("abc123.us-west-2.aoss.amazonaws.com", "aoss", "us-west-2"),
            ("bedrock-runtime.us-west-2.amazonaws.com", "bedrock", "us-west-2"),
            ("s3.us-west-2.amazonaws.com", "s3", "us-west-2"),
            ("bucket.s3.us-west-2.amazonaws.com", "s3", "us-west-2"),
            ("my.bucket.s3.dualstack.us-west-2.amazonaws.com", "s3", "us-west-2"),
            ("s3-fips.us-gov-west-1.amazonaws.com", "s3", "us-gov-west-1"),
            ("bucket.s3.cn-north-1.amazonaws.com.cn", "s3", "cn-north-1"),
            ("bedrock-runtime-fips.us-gov-west-1.amazonaws.com", "bedrock", "us-gov-west-1"),
        ] {
            assert_eq!(told_by(host), Told::Service { service, region: Some(region.to_owned()) }, "{host}");
        }
    }

    #[test]
    fn what_tells_less() {
        for (host, told) in [
            ("abc123.execute-api.localhost", Told::Service { service: "execute-api", region: None }),
            ("s3.amazonaws.com", Told::Service { service: "s3", region: None }),
            ("bucket.s3.amazonaws.com", Told::Service { service: "s3", region: None }),
            ("bucket.s3-website-us-west-2.amazonaws.com", Told::OtherAws),
            ("bucket.s3-website.us-west-2.amazonaws.com", Told::OtherAws),
            ("dynamodb.us-west-2.amazonaws.com", Told::OtherAws),
            ("abc123.execute-api.nowhere.amazonaws.com", Told::OtherAws),
            ("amazonaws.com", Told::Nothing),
            ("api.example.com", Told::Nothing),
            ("abc123.execute-api.us-west-2.amazonaws.com.example.com", Told::Nothing),
            ("abc123.execute-api.us-west-2.evilamazonaws.com", Told::Nothing),
            ("127.0.0.1", Told::Nothing),
            ("localhost", Told::Nothing),
        ] {
            assert_eq!(told_by(host), told, "{host}");
        }
    }

    #[test]
    fn the_shape_of_a_region() {
        for good in ["us-west-2", "us-gov-west-1", "eusc-de-east-1", "ap-southeast-12", "us-isob-east-1"] {
            assert!(is_region(good), "{good}");
        }
        for bad in
            ["", "us", "us-west", "us-west-", "US-west-2", "us-west-2a", "west-2", "us west-2", "-west-2"]
        {
            assert!(!is_region(bad), "{bad}");
        }
    }
}
